"""The JavaScript package, built where node and zig are here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from js.constrained import Constrained, receipts_of
from support.modules import load
from support.tiny import write_tiny

ROOT = Path(__file__).parents[2]
JS = ROOT / "js"
LONG = 1200.0
"""Seconds for a program; an emulated or busy machine is slow."""


def node(*arguments: object, given: Any = None, expected: int = 0) -> str:
    """Run node; return what it prints."""
    command = ["node", *map(str, arguments)]
    text = None if given is None else json.dumps(given)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == expected, f"{done.returncode}: {done.stderr[-2000:]}{done.stdout[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def has_node() -> None:
    """Skip where node is missing, or too old."""
    if shutil.which("node") is None:
        pytest.skip("needs node 20 or later on the PATH")
    if int(subprocess.check_output(["node", "--version"], text=True)[1:].partition(".")[0]) < 20:
        pytest.skip("needs node 20 or later; an older one is on the PATH")


@pytest.fixture(scope="session")
def package(has_node: None) -> Path:
    """Build the package's module and give its folder; skip where zig or what it was built from is missing."""
    wasm = load("scripts/wasm.py")
    zig = wasm.find_zig()
    if zig is None:
        pytest.skip("needs zig to build the WebAssembly module: pip install ziglang")
    if shutil.which("cmake") is None or shutil.which("ninja") is None:
        pytest.skip("needs cmake and ninja to build the WebAssembly module")
    version = subprocess.check_output(["cmake", "--version"], text=True).split()[2]
    if tuple(map(int, version.split(".")[:2])) < (3, 26):
        pytest.skip(f"needs cmake 3.26 or later to build the WebAssembly module; {version} is on the PATH")
    wasm.install(zig)
    return JS


@pytest.fixture(scope="session")
def answers(package: Path) -> Callable[..., list[Any]]:
    """Give a function that has a model's file and jobs answered by the package (`answers.mjs`)."""

    def ask(model: Path, jobs: list[dict[str, Any]], threads: int = 1) -> list[Any]:
        given = {"model": str(model), "jobs": jobs, "threads": threads}
        text = node(Path(__file__).with_name("answers.mjs"), given=given)
        found: list[Any] = json.loads(text)
        return found

    return ask


@pytest.fixture(scope="session")
def in_firefox(has_node: None) -> Callable[..., tuple[Any, list[str]]]:
    """Give a function that evaluates JavaScript in a page of Firefox; skip where a part of it is missing.

    It takes the page's address, the text of a function and what that is given; besides files to choose before, by the
    selectors of their inputs, and the text of a function that is true once they can be chosen. It returns the result,
    and what the page's console said.
    """
    firefox = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
    if firefox is None:
        pytest.skip("needs firefox-esr (apt-get install firefox-esr), or a Firefox in FIREFOX")
    folders = [os.environ.get("PUPPETEER"), ROOT / "build" / "puppeteer" / "node_modules" / "puppeteer-core"]
    folder = next((Path(one) for one in folders if one and (Path(one) / "package.json").is_file()), None)
    if folder is None:
        pytest.skip(
            "needs puppeteer-core: npm install --prefix build/puppeteer puppeteer-core, or its folder in PUPPETEER"
        )

    def evaluate(
        address: str, script: str, given: Any, files: dict[str, Path] | None = None, ready: str = "() => true"
    ) -> tuple[Any, list[str]]:
        chosen = {selector: str(file) for selector, file in (files or {}).items()}
        page = {"firefox": firefox, "address": address, "ready": ready, "files": chosen}
        job = {**page, "script": script, "given": given}
        found = json.loads(node(Path(__file__).with_name("firefox.mjs"), folder, given=job))
        assert found["version"].lower().startswith("firefox/"), found["version"]
        return found["result"], found["said"]

    return evaluate


@pytest.fixture(scope="session")
def constrained(tmp_path_factory: pytest.TempPathFactory) -> Constrained:
    """Give a tiny model with receipts of texts that it drew under constraints."""
    pytest.importorskip("llguidance")
    return receipts_of(write_tiny(tmp_path_factory.mktemp("constrained") / "tiny.gguf"))
