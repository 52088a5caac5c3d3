"""Stopping rules, by enumeration and by integrals."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.reason.aggregate import stopping
from intact.reason.aggregate.votes import vote

COUNTS = st.tuples(st.integers(0, 12), st.integers(0, 12))


@given(COUNTS)
def test_the_lead_is_the_incomplete_beta_function(counts: tuple[int, int]) -> None:
    from scipy.special import betainc

    first, second = counts
    assert math.isclose(stopping.lead_probability(first, second), 1 - betainc(first + 1, second + 1, 0.5), rel_tol=1e-9)
    assert stopping.lead_probability(first, second) + stopping.lead_probability(second, first) == 1


def test_adaptive_consistency_stops_at_the_published_threshold() -> None:
    # 1 - I_.5(v + 1, 1) = 1 - 2^-(v + 1): four of a kind make 0.969, three 0.9375.
    assert not stopping.confident(["a"] * 3)
    assert stopping.confident(["a", "a", None, "a", "a"])
    assert stopping.confident(["a"] * 3, Fraction(15, 16))
    assert not stopping.confident([])
    assert stopping.leaders(["b", "a", "a", "c", "a", "b"]) == (3, 2)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_survival_is_polyas_urn(first: int, second: int, left: int) -> None:
    """The beta-binomial is an urn of first + 1 and second + 1 balls, each drawn one put back with another."""

    def urn(a: int, b: int, left: int) -> Fraction:
        if not left:
            return Fraction(a > b)
        total = a + b + 2
        return Fraction(a + 1, total) * urn(a + 1, b, left - 1) + Fraction(b + 1, total) * urn(a, b + 1, left - 1)

    assert stopping.survival_probability(first, second, left) == urn(first, second, left)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=6), st.integers(0, 3))
def test_decided_means_that_no_continuation_changes_the_answer(answers: list[str | None], left: int) -> None:
    winner = vote(answers).answer
    ends = {leading(answers + list(more)) for more in itertools.product(["a", "b", "c", "d", None], repeat=left)}
    assert stopping.decided(answers, left) == (winner is not None and ends == {(winner,)})


def leading(answers: list[str | None]) -> tuple[str, ...]:
    """The answers with the most votes."""
    weights = vote(answers).weights
    return tuple(answer for answer, mass in weights.items() if mass == max(weights.values()))


def test_a_window_must_be_full_and_of_one_mind() -> None:
    assert stopping.unanimous(["x", "y", "a", "a"], 2)
    assert not stopping.unanimous(["a", "a", "a"], 2), "the second window is not full"
    assert not stopping.unanimous(["a", "a", "a", "b"], 2)
    assert not stopping.unanimous([None, None], 2)
    assert not stopping.unanimous(["a", None], 2)
    assert not stopping.unanimous([], 2)
    with pytest.raises(ParameterError, match="a window must have"):
        stopping.unanimous(["a"], 0)
