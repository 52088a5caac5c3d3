"""What holds for every method there is, on the toy model: accounts, caps, independence, documentation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from intact.evaluate.samples import leaves, texts_of
from intact.reason import all_methods
from intact.reason.backends.base import Generation
from intact.reason.parts.choice import Arm, Policy, pilot_arm
from intact.reason.testing import checks
from intact.reason.testing.checks import CAPS, CHECKS, CONVERSATION, Check, IdleServices, ToyTrial, problems
from intact.reason.testing.small import PROVABLE
from intact.reason.testing.toy import ListeningBackend
from intact.tools.sandbox import protection

METHODS = all_methods()
PROGRAMS = ("program_aided", "code_verified", "collaborative_verification", "hypothesis_search", "linc")
"""Methods that run programs."""
PROOFS = ("proof_search", "draft_sketch_prove", "proof_repair")
"""Methods that try proofs, here in the checker of Metamath, which is no program."""
DOCS = Path(__file__).parents[2] / "docs" / "methods"


@pytest.fixture(params=METHODS)
def name(request: pytest.FixtureRequest) -> str:
    if request.param in PROGRAMS and protection().kind == "none":
        pytest.skip("nothing here keeps programs in")
    return str(request.param)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a table of the method compute_optimal."""
    path = tmp_path_factory.mktemp("table") / "table.json"
    arms = (Arm.of("uct_search", {"scorer": "letters"}), Arm.of("first_finish", {"n": 3}), pilot_arm(3))
    Policy(3, (0.5, 0.9), arms).write(path)
    return str(path)


@cache
def trial_of(name: str, table: str) -> ToyTrial:
    return ToyTrial.of(METHODS[name], name, {"table": table} if name == "compute_optimal" else {})


@pytest.fixture
def trial(name: str, table: str) -> ToyTrial:
    return trial_of(name, table)


ALL_RUNS = """
import json, sys
from intact.reason.registry import find
from intact.reason.testing.checks import ToyTrial, problems
print(json.dumps([ToyTrial(find(name), name, given).run(problems()) for name, given in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def elsewhere(request: pytest.FixtureRequest, table: str) -> list[dict[str, Any]]:
    """Results of the methods under test, in a process of their own for each hash seed."""
    parameters = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    tested = {name for one in parameters if isinstance(name := one.get("name"), str)}
    names = [name for name in METHODS if name in tested and (name not in PROGRAMS or protection().kind != "none")]
    given = json.dumps([[name, dict(trial_of(name, table).parameters)] for name in names])
    found = []
    for seed in checks.HASH_SEEDS:
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", ALL_RUNS]
        ran = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=True)
        found.append(dict(zip(names, json.loads(ran.stdout), strict=True)))
    return found


def written(told: dict[str, Any]) -> list[str]:
    """The texts that a method itself wrote behind the question as it is, each to its end."""
    own = [leaf for leaf in leaves(told["trace"]["nodes"]) if leaf.branch.startswith("p0/") and not leaf.other_prompt]
    return [leaf.text for leaf in own if leaf.tokens]


IN_ONE_PROCESS = [check for check in CHECKS if check.function is not checks.replays]


@pytest.mark.parametrize("check", [pytest.param(check, id=check.name) for check in IN_ONE_PROCESS])
def test_a_method_passes_the_checks_that_users_can_make(trial: ToyTrial, check: Check) -> None:
    check.function(trial)


def test_a_method_gives_the_same_bytes_in_other_processes(
    name: str, trial: ToyTrial, elsewhere: list[dict[str, Any]]
) -> None:
    """The remaining check of users, `replays`, for all methods in one process."""
    expected, _ = trial.usual
    assert [found[name] for found in elsewhere] == [expected] * len(checks.HASH_SEEDS)


def test_an_answer_is_that_of_a_text_of_the_record(trial: ToyTrial) -> None:
    """Result files name the text that an answer is taken from, also of called methods and where words are appended."""
    for result in trial.results(problems(2)):
        texts, place = texts_of(result)
        assert (place is None) == (result.answer.chosen is None)
        assert result.answer.answer is None or place is not None
        assert place is None or texts[place].text == result.answer.chosen.text
        assert len({text.branch for text in texts}) == len(texts)


def test_whatever_a_method_asks_stands_in_the_problem_s_conversation(name: str, trial: ToyTrial) -> None:
    if name == "linc":
        pytest.skip("it refuses a conversation of more than the question")
    prompts = list[Any]()

    class Noting(ListeningBackend):
        def start(self, generations: Sequence[Generation]) -> None:
            prompts.extend(generation.state.prompt for generation in generations)
            super().start(generations)

    problem = replace(problems(1)[0], prompt=CONVERSATION)
    replace(trial, kind=Noting, services=IdleServices).run([problem])
    before = CONVERSATION[:-1]
    assert {(prompt[: len(before)], prompt[-1][0]) for prompt in prompts} == {(before, "user")}


@pytest.mark.parametrize("method", PROOFS)
def test_a_statement_that_is_in_the_question_is_part_of_the_prompts(method: str) -> None:
    trial = ToyTrial.of(METHODS[method], method)
    given = {name: value for name, value in trial.parameters.items() if name != "statement"}
    before = CONVERSATION[:-1]
    texts = [
        checks._texts_and_verdict(
            replace(trial, parameters=given, kind=ListeningBackend), (*before, ("user", comment + str(PROVABLE)))
        )
        for comment in ("", "$( another $)\n")
    ]
    assert texts[0] != texts[1]


def test_what_a_method_spends_it_says(trial: ToyTrial) -> None:
    free = trial.usual[0].values()
    scoring = "scorer" in trial.parameters or trial.method.name == "compute_optimal"  # by a method of its table
    scoring = scoring and trial.method.name != "collaborative_verification"  # here no program agrees with its solution
    spends = {"scores": scoring, "runs": trial.method.name in (*PROGRAMS, *PROOFS)}
    assert {cap: any(one["cost"][cap] > 0 for one in free) for cap in CAPS} == {
        cap: spends.get(cap, True) for cap in CAPS
    }


def test_a_method_whose_texts_end_as_hopeless_comes_to_its_end(
    trial: ToyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"stop_mean_below": -0.95, "stop_window": 1}
    monkeypatch.setattr(checks, "SAMPLING", checks.SAMPLING | rule)
    found = trial.run(problems())
    assert {one["why"] for one in found.values()} == {"done"}
    assert any(node.get("why") == "unlikely" for one in found.values() for node in every(one["trace"]["nodes"]))


def every(nodes: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The nodes of a trace, with those of called methods and scorers."""
    for node in nodes:
        yield node
        yield from every(node.get("nodes", []))


@pytest.mark.parametrize("cap", ["tokens", "scores", "prefill"])
def test_a_method_whose_budget_ends_answers_with_what_it_has(trial: ToyTrial, cap: str) -> None:
    if trial.method.name == "program_aided":
        pytest.skip("its answers are what its texts print")
    one = problems(1)
    (free,) = trial.run(one).values()
    for value in (free["cost"][cap] // 3, free["cost"][cap] - 1):
        if value < 0:
            continue
        (told,) = trial.run(one, **{cap: value}).values()
        assert told["answer"] is not None or not any(map(one[0].read, written(told)))


def test_a_page_says_all_that_one_must_know(name: str) -> None:
    method = METHODS[name]
    assert method.paper
    assert method.line.endswith(".")
    for parameter in method.parameters:
        assert parameter.help.endswith("."), parameter.name
    page = (DOCS / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}\n")
    for heading in ("**Works when.**", "**Needs.**", "**Algorithm.**", "**Departures.**", "**Cost.**"):
        assert heading in page
