"""What holds for every method there is, on the toy model: accounts, caps, independence, documentation."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from intact.evaluate.samples import leaves
from intact.reason import Problem, Result, State, all_methods
from intact.reason.budget import Budget
from intact.reason.choice import Arm, Policy, pilot_arm
from intact.reason.driver import Driver
from intact.reason.services import MethodJob, Services
from intact.tools.sandbox import protection
from support.markov import WEIGHTS, MarkovBackend
from support.small import SMALL

METHODS = all_methods()
LITTLE = SMALL | {"delimiter": ".", "scorer": "letters", "end": ".", "vocabulary": 5}
PROGRAMS = ("program_aided", "code_verified")
"""Methods that run programs."""
DOCS = Path(__file__).parents[2] / "docs" / "methods"


class Everywhere(dict[str, Any]):
    """The toy's weights, that of the beginning behind whatever methods append."""

    def __missing__(self, letter: str) -> Any:
        return self[""]


class Letters:
    """A reward in (0, 1) for each text."""

    name, digest = "letters", ""

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [(1 + sum("abc.".find(letter) for letter in s.text)) / (4 + 4 * len(s.text)) for s in states]


@pytest.fixture(params=METHODS)
def name(request: pytest.FixtureRequest) -> str:
    if request.param in PROGRAMS and protection().kind == "none":
        pytest.skip("nothing here keeps programs in")
    return str(request.param)


@pytest.fixture
def parameters(name: str, tmp_path: Path) -> dict[str, Any]:
    values = {p.name: LITTLE[p.name] for p in METHODS[name].parameters if p.name in LITTLE}
    if name == "compute_optimal":
        arms = (Arm.of("uct_search", {"scorer": "letters"}), Arm.of("first_finish", {"n": 3}), pilot_arm(3))
        Policy(3, (0.5, 0.9), arms).write(tmp_path / "table.json")
        values["table"] = str(tmp_path / "table.json")
    return values


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{i}", "ask 3 and 4?", lambda text: text.strip("`python\n")[:2] or None) for i in range(count)]


def solve(
    name: str, parameters: dict[str, Any], which: list[Problem], timing: int | None = None, **caps: int
) -> dict[str, dict[str, Any]]:
    """Solve problems, and hold what is charged against what was made."""
    backends = {model: MarkovBackend(Everywhere(WEIGHTS), timing) for model in ("toy", "large")}
    sampling = {"max_tokens": 12, "temperature": 1.0}
    driver = Driver(backends, services=Services(lambda _: Letters()), sampling=sampling, budget=Budget(**caps))
    results = [result for _, result in driver.solve([MethodJob(METHODS[name], p, parameters) for p in which])]
    assert sum(result.cost.tokens for result in results) == sum(backend.made for backend in backends.values())
    for result in results:
        assert result.why in ("done", "spent"), result.error
        assert result.cost.tokens == tokens_of(result.trace["nodes"])
        for cap, value in caps.items():
            assert getattr(result.cost, cap) <= value
    return {result.id: comparable(result) for result in results}


def tokens_of(nodes: list[dict[str, Any]]) -> int:
    return sum(node.get("tokens", 0) + tokens_of(node.get("nodes", [])) for node in nodes)


def written(told: dict[str, Any]) -> list[str]:
    """The texts that a method itself wrote from the question on, each to its end."""
    return [leaf.text for leaf in leaves(told["trace"]["nodes"]) if leaf.branch.startswith("p0/") and leaf.tokens]


def comparable(result: Result) -> dict[str, Any]:
    value = result.as_dict(trace=True)
    value["cost"].pop("seconds")
    return dict(json.loads(json.dumps(value)))


def test_neither_company_nor_timing_changes_an_answer(name: str, parameters: dict[str, Any]) -> None:
    all_of_them = solve(name, parameters, problems(5))
    assert name == "program_aided" or any(value["answer"] for value in all_of_them.values())
    fewer = problems(5)[1:4]
    random.Random(1).shuffle(fewer)
    again = solve(name, parameters, fewer, timing=1)
    assert again == {problem.id: all_of_them[problem.id] for problem in fewer}


@pytest.mark.parametrize("cap", ["tokens", "scores", "prefill", "runs"])
def test_no_cap_is_exceeded_and_what_is_spent_is_said(name: str, parameters: dict[str, Any], cap: str) -> None:
    free = solve(name, parameters, problems(1))["p0"]
    most = free["cost"][cap]
    assert free["why"] == "done"
    spends = {"scores": "scorer" in parameters, "runs": name in PROGRAMS}
    assert (most > 0) == spends.get(cap, True)
    if not most:  # a cap on what a method does without changes nothing
        capped = solve(name, parameters, problems(1), timing=1, **{cap: 0})["p0"]
        capped["trace"]["budget"] = free["trace"]["budget"]
        assert capped == free
        return
    for value in sorted({0, 1, most // 3, most - 1, most} - {-1}):
        told = solve(name, parameters, problems(1), timing=value, **{cap: value})["p0"]
        if value == most:
            assert told["cost"] == free["cost"]
        elif value < most:
            assert told["why"] == "spent"
            if name != "program_aided":  # whose answers are what its texts print
                assert told["answer"] is not None or not any(map(problems(1)[0].read, written(told)))


def test_a_page_says_all_that_one_must_know(name: str) -> None:
    method = METHODS[name]
    assert method.paper
    assert method.line.endswith(".")
    for parameter in method.parameters:
        assert parameter.help.endswith("."), parameter.name
    page = (DOCS / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}\n")
    for heading in ("**Deviations.**", "**Helps**", "**Cost.**"):
        assert heading in page
