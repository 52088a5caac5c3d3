"""Floats that replay: correct rounding, order-free sums, exact rationals."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base import exact
from intact._base.errors import ParameterError

REALS = st.floats(-700, 700)


@given(REALS)
def test_exp_and_ln_are_within_one_unit_of_the_c_library(x: float) -> None:
    assert math.isclose(exact.exp(x), math.exp(x), rel_tol=3e-16)
    assert math.isclose(exact.ln(abs(x)) if x else 0.0, math.log(abs(x)) if x else 0.0, rel_tol=3e-16)


NEAR_ONE = st.builds(lambda sign, bits: 1 + sign * 2.0**-bits, st.sampled_from([-1, 1]), st.integers(2, 53))


@given(st.one_of(REALS, st.floats(-1e-3, 1e-3), st.floats(-744, -709)))
def test_exp_is_the_nearest_double(x: float) -> None:
    assert exact.exp(x) == float(Context(prec=60, traps=[]).exp(Decimal(x)))


@given(st.one_of(st.floats(0, exclude_min=True, allow_infinity=False), st.floats(0.5, 2), NEAR_ONE))
def test_ln_is_the_nearest_double(x: float) -> None:
    assert exact.ln(x) == float(Context(prec=60, traps=[]).ln(Decimal(x)))


@pytest.mark.parametrize(
    ("x", "digits"),
    [
        (1.0, "1"),
        (1.0625, "0.967580067599524884759976298715"),
        (1.5, "0.886226925452758013649083741671"),
        (40.25, "5.11776213184514151844016764947e+46"),
        (101.0, "9.33262154439441526816992388563e+157"),
    ],
)
def test_gamma_is_the_nearest_double(x: float, digits: str) -> None:
    assert exact.gamma(x) == float(digits)


@given(st.fractions(0, 10**9))
def test_a_root_lies_below_the_true_one_by_less_than_a_part_in_2_to_the_200(x: Fraction) -> None:
    root = exact.root(x)
    assert root * root <= x < (root * (1 + Fraction(1, 1 << 199))) ** 2 or x == root == 0
    assert exact.root(x * x) == x or x.denominator & (x.denominator - 1), "a root that is a short rational is exact"


def test_significant_digits_are_rounded_half_to_even() -> None:
    assert exact.significant(0.12345678949, 10) == 0.1234567895
    assert [exact.significant(x, 2) for x in (0.125, 0.375, 1e300, -1.25, 0.0)] == [0.12, 0.38, 1e300, -1.2, 0.0]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_integers_over_one_denominator_are_the_doubles_themselves(xs: list[float]) -> None:
    numerators, denominator = exact.integers(xs)
    assert [Fraction(n, denominator) for n in numerators] == [Fraction(x) for x in xs]


def test_the_ends_of_the_functions() -> None:
    assert exact.exp(-math.inf) == 0.0
    assert exact.ln(0.0) == -math.inf
    assert exact.exp(1e9) == math.inf
    assert exact.exp(709.782712893384) < exact.exp(709.7827128933841) == math.inf
    assert exact.exp(-745.133) == 5e-324
    assert exact.ln(math.inf) == math.inf
    assert math.isnan(exact.exp(math.nan))
    assert math.isnan(exact.ln(math.nan))
    assert (exact.ln(1), exact.ln(1 << 40)) == (0.0, 40 * math.log(2))
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
