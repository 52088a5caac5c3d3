#!/usr/bin/env python3
"""Follow four journeys through the code, and count the files whose functions they enter.

    PYTHONPATH=tests scripts/journeys.py [--files] [--json]

The journeys, on a tiny random model:

    generate  `intact.load(path).generate(prompt)`
    chat      a server that starts, and a request to /v1/chat/completions with a method, up to the reply
    solve     `intact solve` with a journal, killed midway, and run again
    receipt   `intact run` with a receipt, and `intact verify`

A file counts if one of its functions is called in any thread; importing a module (its top level, class bodies,
decorators and generated dataclass methods) does not count. The last three journeys exclude the first: files that
plain generation enters are counted only there. Other processes (sandbox, chat templates) are not followed.
`docs/architecture.md` describes the journeys.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import intact

PACKAGE = str(Path(intact.__file__).parent) + "/"


def while_importing(frame: FrameType | None) -> bool:
    """Return true if a module's top level is being executed further up the stack."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


@contextmanager
def traced() -> Iterator[dict[str, set[str]]]:
    """Record the functions that are called, by file."""
    entered: dict[str, set[str]] = {}
    seen: set[Any] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code in seen or not code.co_filename.startswith(PACKAGE):
            return
        if not code.co_flags & inspect.CO_NEWLOCALS or not code.co_flags & inspect.CO_OPTIMIZED:
            return  # a module's or a class's body
        if while_importing(frame.f_back):
            return
        seen.add(code)
        entered.setdefault(code.co_filename.removeprefix(PACKAGE), set()).add(code.co_qualname)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield entered
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def generate(folder: Path) -> None:
    """Generate text with the Python API."""
    intact.load(str(folder / "tiny.gguf"), threads=1).generate("The sky is", n=2, temperature=0.8, max_tokens=4)


def chat(folder: Path) -> None:
    """Start a server and send it a request with a method."""
    from support.serving import running

    with running({"tiny": folder / "tiny.gguf"}) as there:
        body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "What is 1 + 1?"}],
            "max_tokens": 8,
            "n": 1,
            "intact": {"method": "self_consistency", "parameters": {"n": 2}},
        }
        request = urllib.request.Request(
            there.url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as reply:
            assert json.load(reply)["choices"]


def solve(folder: Path) -> None:
    """Solve a problem with a journal, killed at its second commit; run it again."""
    from intact.cli.app import app
    from intact.reason.driving.journal import Journal

    words = ["solve", "self_consistency", "What is 1 + 1?", "-n", "4", "--max-tokens", "8", "--json"]
    words += ["--journal", str(folder / "journal"), "-m", str(folder / "tiny.gguf")]

    def die(journal: Journal) -> None:
        raise KeyboardInterrupt

    commit, Journal.commit = Journal.commit, die  # type: ignore[method-assign]
    try:
        app(words, standalone_mode=False)
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        Journal.commit = commit  # type: ignore[method-assign]
    app(words, standalone_mode=False)


def receipt(folder: Path) -> None:
    """Write an answer with a receipt, and verify it."""
    from intact.cli.app import app

    model, path = str(folder / "tiny.gguf"), str(folder / "answer.receipt")
    app(["run", "-m", model, "The sky is", "--max-tokens", "4", "--receipt", path], standalone_mode=False)
    app(["verify", path, "--model", model], standalone_mode=False)


JOURNEYS: dict[str, Callable[[Path], None]] = {"generate": generate, "chat": chat, "solve": solve, "receipt": receipt}


def entered_files() -> dict[str, dict[str, list[str]]]:
    """Return the files that each journey enters, with the functions; after the first journey, only files new to it."""
    from support.tiny import write_tiny

    found: dict[str, dict[str, list[str]]] = {}
    for name in JOURNEYS:
        with tempfile.TemporaryDirectory() as folder:
            write_tiny(Path(folder) / "tiny.gguf", "qwen3", context=1024)
            with contextlib.redirect_stdout(sys.stderr):
                JOURNEYS[name](Path(folder))  # what is made once (imports, caches of a process) is not of the journey
            with tempfile.TemporaryDirectory() as another:
                (Path(another) / "tiny.gguf").symlink_to(Path(folder) / "tiny.gguf")
                with traced() as entered, contextlib.redirect_stdout(sys.stderr):
                    JOURNEYS[name](Path(another))
        below = found.get("generate", {})
        found[name] = {file: sorted(entered[file]) for file in sorted(entered) if file not in below}
    return found


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--files", action="store_true", help="also print the files, with the functions that were entered"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = entered_files()
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, files in found.items():
        print(f"{name}: {len(files)} files")
        for file, functions in files.items() if options.files else ():
            print(f"    {file}: {', '.join(functions)}")


if __name__ == "__main__":
    main()
