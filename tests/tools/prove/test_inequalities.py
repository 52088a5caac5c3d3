"""Polynomials and inequalities: exact arithmetic, certificates that verify, points that refute, boxes."""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from intact._base.errors import CapacityError, FormatError, ParameterError
from intact.tools.prove.inequalities import (
    SumOfSquares,
    check_bound,
    minimum,
    nonnegative,
    nonnegative_on_box,
    relation,
)
from intact.tools.prove.polynomials import Polynomial, parse_polynomial

NAMES = ("x", "y", "z")
numbers = st.fractions(-4, 4, max_denominator=3)


@st.composite
def polynomials(draw, degree=2, count=2, most=6):
    places = [powers for powers in product(range(degree + 1), repeat=count) if sum(powers) <= degree]
    chosen = draw(st.lists(st.sampled_from(places), max_size=most, unique=True))
    return Polynomial.of(NAMES[:count], {powers: draw(numbers) for powers in chosen})


points = st.tuples(numbers, numbers)


@given(polynomials(3), polynomials(3), points)
def test_arithmetic_is_that_of_values(one, other, point):
    assert (one + other)(point) == one(point) + other(point)
    assert (one - other)(point) == one(point) - other(point)
    assert (one * other)(point) == one(point) * other(point)


@given(polynomials(4))
def test_what_is_written_is_read_again(one):
    assert parse_polynomial(str(one), one.variables) == one


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("(x - y)^2", "x^2 - 2*x*y + y^2"),
        ("2x y - 1/2 x", "2*x*y - (1/2)*x"),
        ("-(x + 1)(x - 1)", "1 - x**2"),
        ("0.25*x/2", "x/8"),
        ("3", "2 + 1"),
    ],
)
def test_polynomials_are_read_as_they_are_meant(text, same):
    names = ("x", "y")
    assert parse_polynomial(text, names) == parse_polynomial(same, names)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x +", "got 'the end'"),
        ("x^y", "whole number up to 64, got 'y'"),
        ("x^65", "whole number up to 64"),
        ("x/y", "divided by a non-zero number"),
        ("x/0", "divided by a non-zero number"),
        ("(x", "not closed"),
        ("x)", "expected an operator"),
        ("x & y", "character 3: expected"),
        ("q", "no variable named 'q'"),
    ],
)
def test_what_is_no_polynomial_is_named(text, error):
    with pytest.raises(FormatError, match=error):
        parse_polynomial(text, ("x", "y"))


def test_polynomials_that_are_too_large_are_refused():
    for text in ("x" * 10_001, "(" * 60 + "x" + ")" * 60, "(x+y+z)^60 * (x+y+z)^60", "x^40 * x^40"):
        with pytest.raises((CapacityError, FormatError)):
            parse_polynomial(text)


@given(st.one_of(polynomials(count=2), polynomials(count=3, most=9)))
def test_a_quadratic_has_a_certificate_or_a_point_where_it_is_negative(one):
    found = nonnegative(one)
    if isinstance(found, SumOfSquares):
        assert found.certifies(one)
    else:
        assert one(found) < 0


@given(polynomials(1, count=3), polynomials(1, count=3), numbers)
def test_sums_of_squares_are_found_and_their_minimum_is_reached(one, other, number):
    total = one * one + (other * other).scale(Fraction(2)) + Polynomial.constant(NAMES, number)
    least = minimum(total)
    assert least is not None
    assert least.value >= number
    assert total(least.point) == least.value
    assert least.certificate.certifies(total - Polynomial.constant(NAMES, least.value))


@given(polynomials(count=2))
def test_what_has_no_minimum_falls_below_any_bound(one):
    assume(minimum(one) is None)
    for bound in (0, -1000):
        lower = one - Polynomial.constant(one.variables, Fraction(bound))
        point = nonnegative(lower)
        assert not isinstance(point, SumOfSquares)
        assert lower(point) < 0


def test_a_certificate_that_is_changed_is_refused():
    one = parse_polynomial("x^2 - 2*x*y + 2*y^2")
    found = nonnegative(one)
    assert isinstance(found, SumOfSquares)
    assert found.certifies(one)
    assert not found.certifies(one + Polynomial.constant(one.variables, Fraction(1, 10**9)))
    assert not SumOfSquares((-found.weights[0], *found.weights[1:]), found.roots).certifies(one)
    assert not SumOfSquares(found.weights[:1], found.roots).certifies(one)
    minus = parse_polynomial("0 - x^2")
    root = parse_polynomial("x")
    assert not SumOfSquares((Fraction(-1),), (root,)).certifies(minus)


def test_a_certificate_of_a_higher_degree_is_verified_too():
    names = ("x", "y")
    roots = tuple(parse_polynomial(text, names) for text in ("x^2 - y", "x*y - 1"))
    one = parse_polynomial("x^4 - 2*x^2*y + y^2 + 2*x^2*y^2 - 4*x*y + 2", names)
    assert SumOfSquares((Fraction(1), Fraction(2)), roots).certifies(one)
    assert not SumOfSquares((Fraction(1), Fraction(1)), roots).certifies(one)
    with pytest.raises(ParameterError, match="degree must be at most 2 for this decision, got 4"):
        nonnegative(one)


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        ("x^2 + y^2", "2*x*y", ">="),
        ("x^2 + y^2 + 1", "2*x*y", ">"),
        ("2*x*y", "x^2 + y^2", "<="),
        ("2*x*y - 1/100", "x^2 + y^2", "<"),
        ("x*y", "0", "none"),
        ("x", "y", "none"),
        ("x - x", "0", ">="),
        ("x^2 + 3*x*y + y^2", "0", "none"),
        ("(x+y)^2/4", "x*y", ">="),
    ],
)
def test_relations_are_decided(left, right, found):
    names = ("x", "y")
    assert relation(parse_polynomial(left, names), parse_polynomial(right, names)) == found


def test_a_bound_is_right_if_it_holds_and_none_is_better():
    one = parse_polynomial("3*x^2 - 2*x + 1")
    assert check_bound(one, Fraction(2, 3)) == (True, True, (Fraction(1, 3),))
    low, high = check_bound(one, Fraction(666, 1000)), check_bound(one, Fraction(667, 1000))
    assert (low.holds, low.best) == (True, False)
    assert (high.holds, one(high.witness) < Fraction(667, 1000)) == (False, True)


boxes = st.tuples(points, points).map(
    lambda pair: tuple(tuple(f(a, b) for a, b in zip(*pair, strict=True)) for f in (min, max))
)


@given(polynomials(4), boxes)
def test_bernsteins_coefficients_bound_the_values_on_a_box(one, box):
    low, high = box
    found = one.bernstein(low, high)
    for shares in product((Fraction(0), Fraction(1, 3), Fraction(1)), repeat=2):
        point = tuple(a + share * (b - a) for a, b, share in zip(low, high, shares, strict=True))
        assert min(found.values()) <= one(point) <= max(found.values())


@given(polynomials(3), boxes)
def test_a_verdict_on_a_box_is_true(one, box):
    low, high = box
    verdict = nonnegative_on_box(one, low, high, most=60)
    steps = [Fraction(k, 4) for k in range(5)]
    grid = [
        tuple(a + share * (b - a) for a, b, share in zip(low, high, shares, strict=True))
        for shares in product(steps, repeat=2)
    ]
    if verdict.kind == "fails":
        assert one(verdict.point) < 0
        assert all(a <= value <= b for a, value, b in zip(low, verdict.point, high, strict=True))
    if verdict.kind == "holds":
        assert all(one(point) >= 0 for point in grid)


def test_a_box_decides_what_squares_do_not():
    one, zero = Fraction(1), Fraction(0)
    box = (zero, zero), (one, one)
    assert nonnegative_on_box(parse_polynomial("x + y - x*y"), *box).kind == "holds"
    assert nonnegative_on_box(parse_polynomial("x*y - 1/1000 + 0*x"), *box).kind == "fails"
    motzkin = parse_polynomial("x^4*y^2 + x^2*y^4 - 3*x^2*y^2 + 1 + 1/100")
    assert nonnegative_on_box(motzkin, (-2 * one, -2 * one), (2 * one, 2 * one)).kind == "holds"
    inside = parse_polynomial("(x - 1/3)^2")
    assert nonnegative_on_box(inside, (zero,), (one,), most=50) == ("open", 50, None)
    with pytest.raises(ParameterError, match="lower and an upper bound for each of x"):
        nonnegative_on_box(inside, (one,), (zero,))
