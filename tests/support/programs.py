"""Methods for tests, and many of them at work at once."""

from __future__ import annotations

import json
from typing import Any

from intact.reason import Answer, CallMethod, Extend, Problem, Race, Result, Score, State, Steps, find, method
from intact.reason.backends.base import Backend
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob

SAMPLED = {"temperature": 1.0, "max_tokens": 12}


def problems(count: int = 6) -> list[Problem]:
    return [Problem(f"p{i}", "ask" + "?" * i) for i in range(count)]


def solve(backend: Backend, tasks: list[MethodJob], **options: Any) -> list[Result]:
    """All results, in the order of the tasks."""
    options.setdefault("sampling", SAMPLED)
    results = dict(Driver({"toy": backend}, **options).solve(tasks))
    assert sorted(results) == list(range(len(tasks)))
    return [results[i] for i in range(len(tasks))]


def comparable(result: Result) -> dict[str, Any]:
    """All of a result but the seconds."""
    value = result.as_dict(trace=True)
    value["cost"].pop("seconds")
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def tokens_of(nodes: list[dict[str, Any]]) -> int:
    """The tokens in a trace."""
    return sum(node.get("tokens", 0) + tokens_of(node.get("nodes", [])) for node in nodes)


class Length:
    """Judges by length."""

    name, digest = "length", ""

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [float(len(state.text)) for state in states]


class Asking:
    """Has the model write a letter about each text."""

    name, digest = "asking", ""

    def score(self, problem: Problem, states: list[State]) -> Any:
        said = yield [Extend(state.ask("good? " + state.text), max_tokens=1) for state in states]
        return [float(ord((state.text + "?")[0])) for state in said]


@method("none")
def mixed(problem: Problem, *, n: int = 4, rounds: int = 3) -> Steps:
    """Everything at once: steps, scores, a race, a call."""
    states = [problem.start] * n
    for _ in range(rounds):
        states = yield [Extend(state, stop=(".",), max_tokens=5) for state in states]
        local, asked = yield [Score(Length(), states), Score(Asking(), states)]
        best = max(range(n), key=lambda i: (local[i] + asked[i], -i))
        states = [states[best].append("a")] * n
    raced = yield Race([Extend(state) for state in states], winners=2)
    votes, single = yield [CallMethod(find("self_consistency"), problem, {"n": 3}), Extend(raced.states[0])]
    assert single.text.startswith(raced.states[0].text)
    return Answer(votes.answer, {"x": float(len(raced.winners))}, None, raced.states[(raced.winners or [0])[0]])


def tasks_of(which: list[Problem]) -> list[MethodJob]:
    """Two methods on each problem."""
    return [
        task
        for problem in which
        for task in (MethodJob(find("self_consistency"), problem, {"n": 5}), MethodJob(mixed, problem, {}))
    ]
