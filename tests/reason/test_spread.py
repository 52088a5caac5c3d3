"""Spreads on their way from a request to scorers, methods and the journal."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.sampling.spread import Spread
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Extend, Piece, Problem, State, Steps, find, method
from intact.reason.aggregate.confidence import mean_spread
from intact.reason.aggregate.votes import take
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal, key_of, seen
from intact.reason.driving.services import MethodJob
from intact.reason.driving.writing import Writing
from intact.reason.problem import Hidden, Result
from intact.reason.testing.toy import WEIGHTS, MarkovBackend

PROBLEM = Problem("p", "ask")


class Endpoint(MarkovBackend):
    """A model that knows the likeliest letters alone."""

    spreads = False


@method("none", temperature=1.0)
def spreading(problem: Problem, *, n: int = 3) -> Steps:
    """Write texts with their spreads."""
    states = yield [Extend(problem.start, spread=True, top_logprobs=20)] * n
    return take(problem, states[0], states=states)


def run(backend: MarkovBackend, name: Any, journal: Journal | None = None, **parameters: Any) -> Result:
    chosen = find(name) if isinstance(name, str) else name
    driver = Driver({"toy": backend}, journal=journal, sampling={"max_tokens": 9, "temperature": 1.0})
    ((_, result),) = driver.solve([MethodJob(chosen, PROBLEM, parameters)])
    assert result.why == "done", result.error
    return result


def expected(text: str) -> tuple[float, float]:
    """The entropy and the certainty of the toy's law behind a text, from its fractions."""
    law: dict[str, Fraction] = MarkovBackend().distribution(text)
    entropy = -sum(float(p) * math.log(p) for p in law.values())
    return entropy, -sum(math.log(len(law) * p) for p in law.values()) / len(law)


@pytest.mark.parametrize("letter", WEIGHTS)
def test_a_spread_of_the_toy_is_that_of_its_fractions(letter: str) -> None:
    found = MarkovBackend().spread(letter)
    assert [value / LOGPROB_SCALE for value in found] == pytest.approx(expected(letter), abs=2 / LOGPROB_SCALE)


def test_each_token_that_was_written_has_its_spread() -> None:
    for state in run(MarkovBackend(), spreading).answer.details["states"]:
        assert len(state.spread) == state.length > 0
        letters = "".join(map(chr, state.tokens))
        assert list(state.spread) == [MarkovBackend().spread(letters[:i]) for i in range(len(letters))]
        assert len(state.append("Wait").spread) == state.length - (state.why == "end")


def test_no_spread_is_reported_where_none_is_asked_for_or_known() -> None:
    chosen = run(MarkovBackend(), "self_consistency", n=2).answer.chosen
    assert chosen is not None
    assert chosen.spread == ()
    for state in run(Endpoint(), spreading).answer.details["states"]:
        assert state.spread == ()
        assert len(state.top) == state.length


def key(backend: MarkovBackend, **asked: Any) -> str:
    request = Extend(PROBLEM.start, hidden=asked.get("hidden", False))
    parameters = SamplingParameters(max_tokens=8)
    return (
        Writing(request, "toy", backend, PROBLEM.start, ("p", 0), parameters, spread=asked.get("spread", False))
        .key(8)
        .hex()
    )


def test_keys_of_requests_without_spreads_are_those_of_before() -> None:
    """Taken before there were spreads, so that journals of that time are found."""
    keys = [key(MarkovBackend()), key(MarkovBackend(), hidden=True)]
    assert [one[:16] for one in keys] == ["336b5c3bebd9ee33", "9ae49d2d7f565907"]
    piece = Piece("ab", (1, 2), (-3, -4), ((("a", -3),), (("b", -4),)), "toy", True, Hidden("toy", "00"))
    scored = key_of(seen(State("q", ("p", 0), (piece,), "end")))
    assert scored.hex()[:16] == "97942ccd5a52325e"
    assert len({*keys, *(key(MarkovBackend(), spread=True, hidden=hidden) for hidden in (False, True))}) == 4


def test_an_endpoints_texts_are_found_whether_spreads_are_asked_for_or_not(tmp_path: Path) -> None:
    @method("none", temperature=1.0)
    def plain(problem: Problem, *, n: int = 3) -> Steps:
        """Write the same texts."""
        states = yield [Extend(problem.start, top_logprobs=20)] * n
        return take(problem, states[0], states=states)

    with Journal(tmp_path / "journal") as journal:
        first = run(Endpoint(), plain, journal)
        again = Endpoint()
        assert run(again, spreading, journal).answer == first.answer
        assert again.made == 0
        other = MarkovBackend()
        run(other, spreading, journal)
        assert other.made > 0


def test_the_journal_keeps_spreads(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        first = run(MarkovBackend(), spreading, journal)
    with Journal(tmp_path / "journal") as journal:
        again = MarkovBackend()
        assert run(again, spreading, journal).answer == first.answer
        assert again.made == 0
        assert all(len(value[0]) == 8 for _, value in journal.items())
    with Journal(tmp_path / "other") as journal:
        run(MarkovBackend(), "self_consistency", journal, n=2)
        journal.commit()
        assert all(len(value[0]) == 7 for _, value in journal.items()), "as before there were spreads"


def test_means_are_those_of_the_exact_sums() -> None:
    values = [Spread(1, LOGPROB_SCALE), Spread(2, 0), Spread(4, 1 << 40)]
    assert mean_spread(values) == (7 / (3 * LOGPROB_SCALE), (LOGPROB_SCALE + (1 << 40)) / (3 * LOGPROB_SCALE))
    assert mean_spread([]) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["self_certainty", "no_thinking_certain"])
def test_methods_rank_by_the_exact_certainty(name: str) -> None:
    parameters = {"prefill": ""} if name == "no_thinking_certain" else {}
    result = run(MarkovBackend(), name, n=4, **parameters)
    texts = [node for node in result.trace["nodes"] if node["kind"] == "extend"]
    for node, certainty in zip(texts, result.answer.details["certainties"], strict=True):
        letters = node["text"] + "$" * (node["why"] == "end")
        each = [expected(letters[:i])[1] for i in range(len(letters))]
        assert certainty == pytest.approx(sum(each) / len(each), abs=1e-6)
    other = run(Endpoint(), name, n=4, vocabulary=26, **parameters)
    assert other.answer.details["certainties"] != result.answer.details["certainties"]
