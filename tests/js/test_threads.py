"""Threads of the JavaScript package: the same bits with any number of them, and errors that end the wait for others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intact.measure.conformance import EXPECTED
from js.conftest import LONG, node
from support.modules import load
from support.tiny import write_tiny

RECEIPTS = Path(__file__).parents[2] / "conformance" / "receipts"
KEPT = {one["file"]: one for one in json.loads((RECEIPTS / "verdicts.json").read_text("utf-8"))["files"]}
Ask = Callable[..., list[Any]]


def test_digests_of_the_contract_on_several_threads(package: Path, tmp_path: Path) -> None:
    """Every program of the conformance set, on three threads and on each tier."""
    load("scripts/js_conformance.py").write(tmp_path / "conformance.bin")
    command = (package / "bin" / "intact.mjs", "selftest", "--set", tmp_path / "conformance.bin", "--threads", 3)
    found = {tuple(line.split()[:2]): line.split()[2] for line in node(*command).splitlines()}
    groups = ("operations", "layouts", "profiles")
    assert found == {(tier, group): EXPECTED[group] for tier in ("wasm", "scalar") for group in groups}


@pytest.mark.parametrize("kinds", [("Q4_1", "F16", "Q8_0"), ("F32", "Q5_1", "IQ4_NL")])
def test_texts_do_not_depend_on_threads(answers: Ask, tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """Digests and texts with log-probabilities; all threads have work, and the prompt fills several steps."""
    model = write_tiny(tmp_path / "tiny.gguf", kinds=kinds, layers=2, context=400)
    prompt = [(7 * i) % 200 for i in range(300)]
    jobs: list[dict[str, Any]] = [{"op": "digests"}]
    jobs += [{"op": "generate", "prompt": prompt, "parameters": given} for given in (
        {"max_tokens": 24}, {"temperature": "1", "seed": "7", "max_tokens": 24, "ignore_eos": True},
    )]  # fmt: skip
    jobs.append({"op": "working"})
    *one, working = answers(model, jobs)
    assert working == 0
    for threads in (2, 5):
        *several, working = answers(model, jobs, threads=threads)
        assert working == threads - 1
        assert several == one


@pytest.mark.parametrize("name", ["true-chat.receipt", "token-5.receipt", "header-seed.receipt"])
def test_verdicts_do_not_depend_on_threads(package: Path, name: str) -> None:
    verdicts = []
    for threads in (1, 2, 4):
        file = RECEIPTS / name
        command = (package / "bin" / "intact.mjs", "verify", file, "--model", RECEIPTS / "model.gguf", "--json")
        status = {"true": 0, "false": 1}[KEPT[name]["outcome"]]
        verdicts.append(json.loads(node(*command, "--threads", threads, expected=status))["receipts"])
    assert verdicts[0][0]["outcome"] == KEPT[name]["outcome"]
    assert verdicts[0] == verdicts[1] == verdicts[2]


def test_a_thread_that_fails_ends_the_work(package: Path) -> None:
    """The first thread does not wait for ever: it raises what the other failed by."""
    [[name, message]] = json.loads(node(Path(__file__).with_name("lost_thread.mjs"), RECEIPTS / "model.gguf"))
    assert name == "CoreError"
    assert "a thread found itself wrong" in message


@pytest.mark.parametrize("threads", ["0", "33", "two"])
def test_a_wrong_number_of_threads_is_named(package: Path, threads: str) -> None:
    command = ("node", package / "bin" / "intact.mjs", "run", "a", "--model", RECEIPTS / "model.gguf", "--raw")
    done = subprocess.run([*command, "--threads", threads], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 2
    assert "threads must be" in done.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_deno_comes_to_the_same_verdicts(package: Path, threads: int) -> None:
    """The command of the package under Deno, which npm has (`npm install deno`)."""
    deno = os.environ.get("DENO") or shutil.which("deno")
    if deno is None:
        pytest.skip("needs deno on the PATH, or its file in DENO")
    names = ["true-chat.receipt", "true-greedy.receipt", "token-5.receipt", "other-weights.receipt"]
    command = [
        deno,
        "run",
        "--allow-read",
        package / "bin" / "intact.mjs",
        "verify",
        *(RECEIPTS / name for name in names),
    ]
    options = ["--model", RECEIPTS / "model.gguf", "--json", "--threads", str(threads)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 1, done.stderr
    found = [(one["outcome"], one["what"], one["position"]) for one in json.loads(done.stdout)["receipts"]]
    assert found == [(KEPT[name]["outcome"], KEPT[name]["what"], KEPT[name]["position"]) for name in names]
