#!/usr/bin/env python3
"""Follow four journeys through the code, and count the files whose functions they enter.

    PYTHONPATH=tests scripts/journeys.py [--files] [--json]

The journeys, on a tiny random model:

    generate  `intact.load(path).generate(prompt)`
    chat      a server that starts, and a request to /v1/chat/completions with a method, up to the reply
    solve     `intact solve` with a journal, killed midway, and run again
    receipt   `intact run` with a receipt, and `intact verify`

A file counts if one of its functions is called in any thread; what only importing a module does (its top level, its
classes' bodies, decorators and dataclasses' generated methods) does not. The last three end where the first begins:
files that generating alone enters are counted there only. Processes of their own (sandbox, chat templates) are not
followed. `docs/dev/architecture.md` describes the journeys.
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
from types import CodeType, FrameType
from typing import Any

import intact
from support.tiny import write_tiny

PACKAGE = str(Path(intact.__file__).parent) + "/"


def while_importing(frame: FrameType | None) -> bool:
    """Return true if a module's top level is being executed further up the stack."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


@contextmanager
def traced() -> Iterator[dict[CodeType, str]]:
    """Collect the functions that are called, with their files, in the order of their first calls."""
    entered: dict[CodeType, str] = {}

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code in entered or not code.co_filename.startswith(PACKAGE):
            return
        if not code.co_flags & inspect.CO_NEWLOCALS or not code.co_flags & inspect.CO_OPTIMIZED:
            return  # a module's or a class's body
        if while_importing(frame.f_back):
            return
        entered[code] = code.co_filename.removeprefix(PACKAGE)

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


BODY = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "What is 1 + 1?"}],
    "max_tokens": 8,
    "n": 1,
    "intact": {"method": "self_consistency", "parameters": {"n": 2}},
}


def post(url: str) -> None:
    """Send the chat's request to a server, and read the reply."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(BODY).encode(), headers)
    with urllib.request.urlopen(request) as reply:
        assert json.load(reply)["choices"]


def chat(folder: Path) -> None:
    """Start a server, and send it a chat with a method."""
    from support.serving import running

    with running({"tiny": folder / "tiny.gguf"}) as there:
        post(there.url)


def count_stops(folder: Path) -> tuple[int, int]:
    """Return the stops and returns of the chat's request in `serve`, at a server whose model is loaded."""
    from support.serving import running

    with traced() as entered, running({"tiny": folder / "tiny.gguf"}) as there:
        post(there.url)
        entered.clear()
        post(there.url)
        files = [file for file in entered.values() if file.startswith("serve/")]
    stops = [file for before, file in zip([None, *files], files, strict=False) if file != before]
    return len(stops), len(stops) - len(set(stops))


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
    """Return the files that each journey enters, with the functions; of those after the first only what is theirs."""
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
        functions: dict[str, list[str]] = {}
        for code, file in entered.items():
            if file not in found.get("generate", {}):
                functions.setdefault(file, []).append(code.co_qualname)
        found[name] = {file: sorted({*functions[file]}) for file in sorted(functions)}
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
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        write_tiny(Path(folder) / "tiny.gguf", "qwen3", context=1024)
        stops, returns = count_stops(Path(folder))
    for name, files in found.items():
        print(f"{name}: {len(files)} files" + (f"; {stops} stops, {returns} returns" if name == "chat" else ""))
        for file, functions in files.items() if options.files else ():
            print(f"    {file}: {', '.join(functions)}")


if __name__ == "__main__":
    main()
