"""The checks of `intact check` find what is wrong with a method, and nothing where nothing is."""

from __future__ import annotations

import json
import os
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
    "reads every turn": """\
    prompt = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[-1:]
    return elect(problem, (yield [Extend(problem.ask(prompt))] * n))""",
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


def file_of(folder: Path, body: str, first: str = "") -> str:
    path = folder / "mine.py"
    path.write_text(f"{first}\n{HEAD}{body}\n")
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


ENDLESS = {
    "a loop that swallows what stops it": """\
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass""",
    "a loop in C": "    sum(itertools.repeat(0))",
    "a loop with requests that cost nothing": "    while True:\n        yield []",
}


@pytest.mark.parametrize(
    "body",
    [pytest.param(body, marks=[pytest.mark.slow] * bool(i)) for i, body in enumerate(ENDLESS.values())],
    ids=ENDLESS,
)
def test_a_method_that_never_ends_is_stopped_and_the_command_says_so(body: str, tmp_path: Path) -> None:
    label = file_of(
        tmp_path,
        f"{body}\n{GOOD}",
        f"import itertools, os, time\nprint(os.getpid(), file=open({str(tmp_path / 'pid')!r}, 'w'))",
    )
    ran = CliRunner().invoke(app, ["check", label, "--seconds", "5"])
    assert ran.exit_code == 1
    assert "FAILS ends" in ran.stdout
    words = " ".join(ran.stdout.split())
    assert "mine did not end within 5 s" in words
    assert "--seconds N gives each property more time" in words
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.slow
def test_a_file_that_never_loads_is_an_error(tmp_path: Path) -> None:
    label = file_of(tmp_path, GOOD, "import time\nwhile True:\n    time.sleep(1)")
    ran = CliRunner().invoke(app, ["check", label, "--seconds", "2"])
    assert ran.exit_code == 2
    assert "mine.py:mine did not load within 2 s" in ran.stderr


@pytest.mark.slow
def test_a_method_that_ends_its_process_is_told_and_what_it_prints_is_no_result(tmp_path: Path) -> None:
    label = file_of(tmp_path, "    print('{}')\n    __import__('os')._exit(7)\n" + GOOD)
    ran = CliRunner().invoke(app, ["check", label, "--json"])
    told = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert told["checks"][0]["why"] == "mine ended its process with status 7"


COMPOSED = '''
from intact.reason.parts.composing import composed, vote, write
from intact.reason.parts.particles import Trajectory, newest, next_step
from intact.reason.populations.transformers import cut, resample, sample, start, weigh
from intact.reason.problem import Problem
from intact.reason.registry import Steps, method

@composed("start (sample weigh resample)* vote", "measure")
@method(paper="none")
def mine(problem: Problem, *, n: int = 3, scorer: str = "letters", steps: int = 3) -> Steps:
    """A method."""
    texts = start(Trajectory.begin(problem.start), n)
    for step in range(steps):
        if all(text.ended for text in texts):
            break
        active = texts.where(lambda text: not text.ended)
        texts = yield from sample(texts, next_step(scorer, "."))
        texts = weigh(texts, newest, where=active)
        texts = resample(texts, problem.key("resample", step))
    return vote(problem, texts)
'''
DEPARTURES = {
    "law measure": ("newest, where=active", "newest"),
    "applies its composition": ("    return vote(problem, texts)", "    return vote(problem, cut(texts, range(n)))"),
    "law evidence": ('"measure"', '"measure", "evidence"'),
    "law measure ": ('problem.key("resample", step)', 'problem.key("resample", step) % 7'),
}


def test_a_composition_of_a_users_own_is_checked_by_its_declared_laws(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(COMPOSED)
    ran = CliRunner().invoke(app, ["check", f"{path}:mine", "--json"])
    told = json.loads(ran.stdout)
    assert told["holds"], told
    assert [one["check"] for one in told["checks"]][-2:] == ["applies its composition", "law measure"]
    ran = CliRunner().invoke(app, ["methods", f"{path}:mine", "--json"])
    (described,) = json.loads(ran.stdout)
    assert described["composition"] == "start (sample weigh resample)* vote"
    assert described["laws"] == ["measure"]


@pytest.mark.parametrize("check", DEPARTURES)
def test_a_composition_that_is_not_what_it_declares_is_found_out(check: str, tmp_path: Path) -> None:
    """Ended texts that are weighed again, a cut that is not declared, a missing evidence, a key that is a number."""
    path = tmp_path / "mine.py"
    path.write_text(COMPOSED.replace(*DEPARTURES[check]))
    trial = ToyTrial.of(find(f"{path}:mine"), f"{path}:mine")
    failed = {result.check: result.why for result in check_method(trial) if not result.holds}
    assert failed.keys() == {check.strip()}
    assert all(failed.values())


def test_a_law_that_there_is_not_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(COMPOSED.replace('"measure"', '"fairness"'))
    ran = CliRunner().invoke(app, ["check", f"{path}:mine"])
    assert ran.exit_code == 2
    assert "measure, evidence" in ran.stderr
