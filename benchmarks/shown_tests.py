"""Evaluate resampling programs until shown tests pass: the limits of this checker, by the number of shown tests.

    python benchmarks/shown_tests.py             # the 3,280 programs of study/humaneval.md, some minutes of sandbox

After arXiv 2411.17501 (fLaws), which shows the tests of HumanEval and judges by those of HumanEval+. Here the first
tests of each problem are shown, and all of them judge, so a right program is always accepted. A program is run once,
with each test separate; problems whose tests are not a plain list of assertions are left out.
"""

from __future__ import annotations

import argparse
import ast
import json
import lzma
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from published import MODEL, remake

from intact.evaluate.files import read
from intact.stats.laws.resampling import MOST, resampling_limits
from intact.tasks import find_task
from intact.tasks.score import code
from intact.tools.sandbox import run

SHOWN = (1, 2, 3, 5)
FLUKES = (-0.5, -1.0, -2.0, -4.0, -8.0)


def assertions(tests: str) -> list[str] | None:
    """Return the assertions of a function `check(candidate)`; None if it is not a plain list of them."""
    (check,) = [node for node in ast.parse(tests).body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    if not all(isinstance(node, ast.Assert) for node in check.body):
        return None
    return [ast.unparse(node) for node in check.body]


def passes(program: str, entry: str, tests: Sequence[str]) -> list[bool]:
    """Return which tests a program passes; tests after one that does not end count as failed."""
    lines = [program, f"candidate = {entry}"]
    for number, test in enumerate(tests):
        lines += ["try:", f"    {test}", f"    __import__('builtins').print('passed', {number}, flush=True)"]
        lines += ["except Exception:", "    pass"]
    printed = run("\n".join(lines) + "\n", limits=code.TESTING).stdout.splitlines()
    return [f"passed {number}" in printed for number in range(len(tests))]


def outcomes(records: Sequence[Any], items: Mapping[str, Any]) -> dict[str, list[list[bool]]]:
    """Return, for each problem with separable tests, which of them each sample passes."""
    work: dict[tuple[str, str | None], list[bool]] = {}
    tests = {}
    for record in records:
        found = assertions(items[record.id].secret["tests"])
        if found is not None:
            tests[record.id] = found
            work |= {(record.id, sample.answer): [] for sample in record.samples}

    def one(key: tuple[str, str | None]) -> list[bool]:
        name, program = key
        return (
            [False] * len(tests[name]) if program is None else passes(program, items[name].data["entry"], tests[name])
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(work, pool.map(one, work), strict=True))
    return {
        record.id: [found[record.id, sample.answer] for sample in record.samples]
        for record in records
        if record.id in tests
    }


def table(passed: Mapping[str, Sequence[Sequence[bool]]]) -> str:
    """Return the limits by number of shown tests as a Markdown table."""
    head = ["tests shown", "problems", "wrong programs that pass", "accuracy of one sample", "ceiling", "answered"]
    head += [f"best K at {fluke:g}" for fluke in FLUKES]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for shown in SHOWN:
        own = [samples for samples in passed.values() if len(samples[0]) > shown]
        right = [sum(all(one) for one in samples) for samples in own]
        flukes = [sum(all(one[:shown]) and not all(one) for one in samples) for samples in own]
        found = resampling_limits([len(samples) for samples in own], right, right, flukes, FLUKES)
        sound, top = found.soundness, found.ceiling
        cells = [str(shown), str(len(own))]
        cells += [f"{1 - sound.estimate:.1%} ({1 - sound.high:.1%} to {1 - sound.low:.1%})", f"{found.single:.1%}"]
        cells += [f"{top.estimate:.1%} ({top.low:.1%} to {top.high:.1%})", f"{found.answered:.1%}"]
        for best in found.best:
            low, high = (f"{MOST} or more" if k >= MOST else str(k) for k in (best.low, best.high))
            cells.append(f"{best.attempts} ({low} to {high})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser()
    parser.add_argument("--model", type=Path, default=models / MODEL)
    parser.add_argument("--keep", type=Path, help="file that stores which tests each program passes; read if it exists")
    options = parser.parse_args()
    if options.keep and options.keep.exists():
        passed = json.loads(lzma.decompress(options.keep.read_bytes()))
    else:
        with tempfile.TemporaryDirectory() as folder:
            records = read(remake("humaneval", options.model, Path(folder))).records
        passed = outcomes(records, {item.id: item for item in find_task("humaneval").load()})
        if options.keep:
            options.keep.write_bytes(lzma.compress(json.dumps(passed).encode()))
    wrong = sum(not all(one) for samples in passed.values() for one in samples)
    print(f"{len(passed)} problems, {sum(map(len, passed.values()))} programs, {wrong} of them wrong\n")
    print(table(passed))


if __name__ == "__main__":
    main()
