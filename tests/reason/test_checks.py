"""The checks of `intact check` find what is wrong with a method, and nothing where nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from intact.cli.app import app
from intact.reason import find
from intact.reason.testing.checks import ToyTrial, check_method

HEAD = '''
from intact.reason.aggregate.votes import elect, take
from intact.reason.problem import Problem, State
from intact.reason.registry import Steps, method
from intact.reason.requests import Extend

seen = []

@method(paper="none")
def mine(problem: Problem, *, n: int = 3) -> Steps:
    """A method."""
'''
GOOD = "    return elect(problem, (yield [Extend(problem.start)] * n))"
FAULTS = {
    "ends": "    while True:\n        yield Extend(problem.start)",
    "an error": "    yield Extend(problem.start)\n    raise KeyError('a key')",
    "no answer": "    texts = yield [Extend(problem.start)] * n\n    return take(problem, State(problem.prompt))",
    "a state of its own": """\
    seen.append(problem.id)
    texts = yield [Extend(problem.start)] * (1 + len(seen) % 7)
    return elect(problem, texts)""",
    "replays": """\
    texts = yield [Extend(problem.start)] * (1 + int.from_bytes(str(hash("a" * 9)).encode()[-3:]) % 7)
    return elect(problem, texts)""",
    "resumes": """\
    texts = yield [Extend(problem.start)] * n
    seen.append(problem.id)
    more = yield [Extend(problem.start)] * (len(seen) // 5)
    return elect(problem, [*texts, *more])""",
}
FOUND_BY = {"an error": {"ends"}, "no answer": {"ends"}, "a state of its own": {"ignores company", "keeps caps"}}


def file_of(folder: Path, body: str) -> str:
    path = folder / "mine.py"
    path.write_text(HEAD + body + "\n")
    return f"{path}:mine"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_the_check_of_its_kind(fault: str, tmp_path: Path) -> None:
    label = file_of(tmp_path, FAULTS[fault])
    failed = {result.check: result.why for result in check_method(ToyTrial.of(find(label), label)) if not result.holds}
    assert FOUND_BY.get(fault, {fault}) <= failed.keys()
    assert all(failed.values())


def test_a_sound_method_passes_and_the_command_says_so(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["check", file_of(tmp_path, GOOD), "--json", "--set", "n=4"])
    told: dict[str, Any] = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert told["holds"]
    assert told["parameters"] == {"n": 4}
    assert all(one["holds"] and one["meaning"] for one in told["checks"])


def test_a_method_that_fails_gives_a_status_and_the_reason(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["check", file_of(tmp_path, FAULTS["an error"])])
    assert ran.exit_code == 1
    assert "FAILS ends" in ran.stdout
    assert "a key" in ran.stdout
