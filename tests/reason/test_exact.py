"""Floats that replay: correct rounding, order-free sums, exact rationals."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.errors import ParameterError
from intact.reason import exact

REALS = st.floats(-700, 700)


@given(REALS)
def test_exp_and_ln_are_within_one_unit_of_the_c_library(x: float) -> None:
    assert math.isclose(exact.exp(x), math.exp(x), rel_tol=3e-16)
    assert math.isclose(exact.ln(abs(x)) if x else 0.0, math.log(abs(x)) if x else 0.0, rel_tol=3e-16)


def test_the_ends_of_the_functions() -> None:
    assert exact.exp(-math.inf) == 0.0
    assert exact.ln(0.0) == -math.inf
    assert exact.exp(1e9) == math.inf
    assert math.isnan(exact.ln(-1.0))
    assert exact.power(0.0, 0.0) == 1.0
    assert exact.power(2.0, 0.5) == math.sqrt(2.0)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.randoms())
def test_sums_do_not_know_an_order(xs: list[float], random: object) -> None:
    shuffled = list(xs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert exact.total(xs) == exact.total(shuffled)


def test_numbers_become_the_rationals_they_are() -> None:
    assert exact.weight(0.1) == Fraction(3602879701896397, 1 << 55)
    assert exact.weight(Fraction(1, 3)) == Fraction(1, 3)


@pytest.mark.parametrize("bad", [-1, -1e-300, math.inf, math.nan, Fraction(-1, 3)])
def test_weights_are_finite_and_not_negative(bad: float) -> None:
    with pytest.raises(ParameterError, match="a weight must be"):
        exact.weight(bad)
