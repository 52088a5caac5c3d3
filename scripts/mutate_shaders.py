#!/usr/bin/env python3
"""Check the tests of the shaders: each mutation of shader_mutants.toml must fail a test.

    scripts/mutate_shaders.py [--trust] [--list] [NAME...]

A mutation replaces a text, which occurs once in its file, by another one. Its tests run in a process that reads the
altered text; no file changes. The exit status is 1 if one survives.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
TESTS: Final = ROOT / "tests" / "executors" / "gpu"
LISTED: Final = Path(__file__).with_name("shader_mutants.toml")
SHADERS: Final = ROOT / "src" / "intact" / "executors" / "gpu" / "shaders"


class Mutation(NamedTuple):
    """A change of a shader.

    Attributes
    ----------
    file : str
        Shader file without its suffix.
    old, new : str
        Text that occurs once in the file, and its replacement.
    tests : tuple of str
        Arguments of pytest; the first one is a file in tests/executors/gpu.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}.wgsl: {' '.join(self.old.split())} -> {' '.join(self.new.split()) or '(nothing)'}"

    def altered(self, text: str) -> str:
        """Return the altered text of the file.

        Raises
        ------
        ValueError
            If the old text does not occur exactly once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self}: occurs {count} times, not once")
        return text.replace(self.old, self.new)


def mutations() -> list[Mutation]:
    """Return the mutations of shader_mutants.toml."""
    listed = tomllib.loads(LISTED.read_text(encoding="utf-8"))
    tests = {name: tuple(arguments) for name, arguments in listed["tests"].items()}
    return [Mutation(one["file"], one["old"], one["new"], tests[one["tests"]]) for one in listed["mutation"]]


def _pass(mutation: Mutation | None, tests: tuple[str, ...]) -> bool:
    """Return true if tests pass with an altered shader."""
    from intact.executors.gpu import device, shaders

    original = shaders.shader_file
    if mutation is not None:
        altered = mutation.altered(original(mutation.file))
        shaders.shader_file = lambda name: altered if name == mutation.file else original(name)
    shaders.read_shader.cache_clear()
    device.open_device()._pipelines.clear()
    name, *chosen = tests
    try:
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", str(TESTS / name), *chosen])
    finally:
        shaders.shader_file = original
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"mutate_shaders: no tests ran: {' '.join(tests)}")
    return code == pytest.ExitCode.OK


def _work(jobs: list[tuple[Mutation | None, tuple[str, ...]]], results: Connection) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    for job in jobs:
        results.send(_pass(*job))


def outcomes(jobs: list[tuple[Mutation | None, tuple[str, ...]]]) -> Iterator[bool]:
    """Yield for each mutation if its tests pass, which run in one process with one device; a crash is a failure."""
    context, done = multiprocessing.get_context("fork"), 0
    while done < len(jobs):
        results, sent = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(jobs[done:], sent))
        child.start()
        sent.close()
        try:
            while done < len(jobs):
                passed = results.recv()
                done += 1
                yield passed
        except EOFError:
            child.join()
            if child.exitcode == 1:
                raise SystemExit("mutate_shaders: the tests cannot run") from None
            done += 1
            yield False
        child.join()


def main() -> int:
    """Run the chosen mutations; return 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="take the mutations whose description contains one of these")
    parser.add_argument("--trust", action="store_true", help="that the tests pass without mutations")
    parser.add_argument("--list", action="store_true", help="show them and stop")
    options = parser.parse_args()
    chosen = [one for one in mutations() if not options.names or any(name in str(one) for name in options.names)]
    if options.list:
        print(*chosen, sep="\n")
        return 0
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]
    began, survivors = time.monotonic(), 0
    groups = [] if options.trust else sorted({one.tests for one in chosen})
    for tests, passed in zip(groups, outcomes([(None, tests) for tests in groups]), strict=True):
        if not passed:
            raise SystemExit(f"mutate_shaders: {' '.join(tests)} fails without any mutation")
    for one, passed in zip(chosen, outcomes([(one, one.tests) for one in chosen]), strict=True):
        survivors += passed
        print(f"{'SURVIVED' if passed else 'found':8} {one}", flush=True)
    found = len(chosen) - survivors
    print(f"mutate_shaders: {found} of {len(chosen)} mutations found, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
