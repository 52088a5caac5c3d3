"""Votes whose weights are all 0 fall back to equal weights: a scorer that rejects everything decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.reason import Problem, State, find
from intact.reason.aggregate.votes import elect
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.problem import Piece
from support.script import ScriptBackend

PROBLEM = Problem("p", "ask", lambda text: text[:1] if text[:1] in "ab" else None)
WEIGHTED = ["weighted_best_of_n", "beam_search", "dvts", "rebase", "entropic_particle_filter"]


class Zero:
    """Rejects every text; but likes those without an answer."""

    name, digest, least, most = "zero", "", 0.0, 1.0

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [0.0 if problem.answer(state) else 1.0 for state in states]


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_0_leave_the_majority(name: str) -> None:
    texts = ["a", "b", "b", "b"]
    driver = Driver(
        {"toy": ScriptBackend(lambda prompt, text, place: texts[place % 4])}, services=Services(lambda _: Zero())
    )
    parameters: dict[str, Any] = {"n": 4} | ({} if name == "weighted_best_of_n" else {"final": "weighted"})
    parameters |= {"width": 1} if name in ("beam_search", "dvts") else {}
    ((_, result),) = driver.solve([MethodJob(find(name), PROBLEM, parameters)])
    assert result.why == "done", result.error
    found = [text[0] for text in (node["text"] for node in result.trace["nodes"] if node["kind"] == "extend")]
    assert result.answer.answer == max("ab", key=found.count)
    assert sum(result.answer.votes.values()) > 0


def states(*texts: str) -> list[State]:
    return [State("ask", ("p", i), (Piece(text),), "end") for i, text in enumerate(texts)]


def test_one_weight_above_0_decides() -> None:
    found = elect(PROBLEM, states("a", "b", "b"), [0.001, 0.0, 0.0])
    assert (found.answer, dict(found.votes), found.confidence) == ("a", {"a": 0.001, "b": 0.0}, 1.0)
    found = elect(PROBLEM, states("a", "b", "b", "-"), [0.0, 0.0, 0.0, 5.0])
    assert (found.answer, dict(found.votes), found.confidence) == ("b", {"b": 2.0, "a": 1.0}, 0.5)
    assert elect(PROBLEM, states("-"), [0.0]).answer is None


def test_weights_are_still_checked() -> None:
    with pytest.raises(ParameterError, match="got 2 answers, 1 weights"):
        elect(PROBLEM, states("a", "b"), [0.0])
    with pytest.raises(ParameterError):
        elect(PROBLEM, states("a", "b"), [0.0, -1.0])
