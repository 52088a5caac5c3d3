#!/usr/bin/env python3
"""Write the extension's type stubs, src/intact/_native/*.pyi, from the built module with nanobind's stubgen.

    scripts/native_stubs.py [--check]     # with --check: compare with the existing files, and write nothing

Run it after changing bindings, with the extension built and `PYTHONPATH=src`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "src/intact/_native"
HEADER = """\
# Written by scripts/native_stubs.py with nanobind {version}; do not edit.
# fmt: off
# ruff: noqa
"""
COMPLETIONS = (
    (re.compile(r"-> tuple:"), "-> tuple[Any, ...]:"),
    (re.compile(r"-> dict:"), "-> dict[str, Any]:"),
    # intact.measure.conformance puts it into a list of int64 arrays.
    (re.compile(r"(def norm\(.*\)) -> NDArray\[numpy\.int32\]:"), r"\1 -> NDArray[Any]:"),
    (re.compile(r"^from typing import Annotated$", re.MULTILINE), "from typing import Annotated, Any"),
)
"""Patterns in stubgen's output that mypy's strict mode rejects, and their replacements."""


def header() -> str:
    """Return the lines above each file, with the installed version of nanobind."""
    return HEADER.format(version=version("nanobind"))


def made() -> dict[Path, str]:
    """Return the text of each file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-r", "-m", "intact._native", "-O", folder]
        subprocess.run(command, check=True)
        texts = {path.name: path.read_text() for path in sorted(Path(folder).rglob("*.pyi"))}
    for pattern, replacement in COMPLETIONS:
        texts = {name: pattern.sub(replacement, text) for name, text in texts.items()}
    return {FOLDER / name: header() + text for name, text in texts.items()}


def main() -> int:
    """Write all files, or compare them."""
    check, files = "--check" in sys.argv[1:], made()
    stale = set(FOLDER.glob("*.pyi")) - set(files)
    different = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if not check:
        FOLDER.mkdir(exist_ok=True)
        for path in stale:
            path.unlink()
        for path in different:
            path.write_text(files[path])
    names = ", ".join(sorted(path.name for path in [*stale, *different]))
    print(f"{'different' if check else 'written'}: {names or 'none'}")
    return int(check and bool(names))


if __name__ == "__main__":
    sys.exit(main())
