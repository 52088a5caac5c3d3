"""Judges on a simplex: exact examples, and chances of orders against quadrature and plain weighting."""

import doctest
from fractions import Fraction
from itertools import pairwise, permutations, product

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats import judges
from intact.stats.judges import mean_level, order_chances, true_levels

SEEN = ([0.4, 0.2, 0.4], [0.3, 0.4, 0.3])


def test_three_levels_do_not_settle_an_order():
    assert doctest.testmod(judges).failed == 0
    one = [[0.8, 0.2, 0], [0.1, 0.5, 0.4], [0.1, 0.2, 0.7]]
    other = [[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0, 0.2, 0.8]]
    means = [[mean_level(true_levels(seen, judge)) for seen in SEEN] for judge in (one, other)]
    assert means == [[Fraction(8, 7), Fraction(16, 21)], [Fraction(6, 7), Fraction(26, 21)]]
    for judge in (one, other):
        for low, high in pairwise(judge):
            assert all(sum(low[level:]) <= sum(high[level:]) + 1e-12 for level in (1, 2))
        for seen in SEEN:
            shares = true_levels(seen, judge)
            assert min(shares) >= 0
            assert np.array(shares, float) @ judge == pytest.approx(seen)


def test_two_levels_settle_it_for_every_judge_that_is_better_than_chance():
    tenths = [Fraction(i, 10) for i in range(11)]
    for a, b, low, high in product(tenths[::2], tenths[1::2], tenths[::3], tenths[::3]):
        if high > low:
            judge = [[1 - low, low], [1 - high, high]]
            shares = [true_levels([1 - seen, seen], judge)[1] for seen in (a, b)]
            assert (shares[0] > shares[1]) == (a > b)
            assert shares[0] == (a - low) / (high - low)


def quadrature(counts, gold, agreement, size=50):
    """Integrate over two rows and two candidates of two levels on a grid of midpoints: the chance that A is better."""
    grid = (np.arange(size) + 0.5) / size
    won = total = 0.0
    for low, high in product(grid, grid):
        if high < low:
            continue
        prior = (1 - low) ** (agreement + gold[0][0]) * low ** gold[0][1]
        prior *= (1 - high) ** gold[1][0] * high ** (agreement + gold[1][1])
        seen = low + grid * (high - low)
        a, b = ((1 - seen) ** row[0] * seen ** row[1] for row in counts)
        below = np.cumsum(b) - b / 2  # ties of a cell count half
        won += prior * (a * below).sum()
        total += prior * a.sum() * b.sum()
    return won / total


@pytest.mark.parametrize(
    ("counts", "gold", "agreement"),
    [
        ([[3, 5], [4, 4]], [[0, 0], [0, 0]], 0),
        ([[2, 9], [6, 5]], [[3, 1], [1, 4]], 1),
        ([[0, 3], [5, 1]], [[0, 0], [2, 2]], 2.5),
    ],
)
def test_chances_are_those_of_quadrature(counts, gold, agreement):
    found = order_chances(counts, gold, agreement)
    assert found.above(0, 1) == pytest.approx(quadrature(counts, gold, agreement), abs=4 * 0.5 / found.effective**0.5)
    assert found.effective > 1_000
    assert found.above(0, 1) + found.above(1, 0) == pytest.approx(1)


def test_chances_of_three_levels_and_candidates_are_those_of_draws_from_the_prior():
    counts, gold = np.array([[4, 2, 1], [2, 3, 2], [1, 2, 3]]), np.array([[2, 1, 0], [0, 2, 1], [0, 1, 2]])
    rng = np.random.default_rng(5)
    rows = np.stack([rng.dirichlet(1 + gold[m] + np.eye(3)[m], 200_000) for m in range(3)], axis=1)
    fine = np.diff(np.stack([rows[:, :, 1:].sum(axis=2), rows[:, :, 2]]), axis=2).min(axis=(0, 2)) >= 0
    shares = rng.dirichlet(np.ones(3), (fine.sum(), 3))
    weights = np.prod((shares @ rows[fine]) ** counts, axis=(1, 2))
    orders = np.argsort(-(shares @ [0, 1, 2]), axis=1)
    effective = weights.sum() ** 2 / (weights**2).sum()
    found = order_chances(counts, gold)
    assert min(effective, found.effective) > 500
    error = 4 * 0.5 * (1 / effective + 1 / found.effective) ** 0.5
    for order in permutations(range(3)):
        expected = weights[(orders == order).all(axis=1)].sum() / weights.sum()
        assert found.orders[order] == pytest.approx(expected, abs=error)
    assert next(iter(found.orders)) == (2, 1, 0)
    assert found.means[2] > found.means[0]


def test_more_judged_texts_settle_two_levels_and_not_three():
    two = order_chances([[4000, 6000], [4400, 5600]], draws=20_000)
    assert two.above(0, 1) > 0.99
    three = order_chances([[4000, 2000, 4000], [3000, 4000, 3000]], draws=20_000)
    assert 0.05 < three.above(0, 1) < 0.95
    assert three.effective > 100
    gold = 10_000 * np.array([[8, 2, 0], [1, 5, 4], [1, 2, 7]])
    assert order_chances([[4000, 2000, 4000], [3000, 4000, 3000]], gold).above(0, 1) > 0.99
    assert order_chances([[4, 6], [5, 5]], seed=3).orders == order_chances([[4, 6], [5, 5]], seed=3).orders


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: true_levels([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]]), "cannot tell different candidates apart"),
        (lambda: true_levels([0.5, 0.6], [[1, 0], [0, 1]]), r"\(observed\) must be at least 0 and sum to 1"),
        (lambda: true_levels([0.5, 0.5], [[1, 0], [-1, 2]]), "row 1 of the judge"),
        (lambda: true_levels([0.5, 0.5], [[1, 0]]), "2 rows of 2 shares"),
        (lambda: order_chances([[1, 2]]), "two candidates and two levels"),
        (lambda: order_chances([[1, 2], [3, -1]]), "at least 0, got -1"),
        (lambda: order_chances([[1, 2], [3, 1.5]]), "whole numbers, got 1.5"),
        (lambda: order_chances([[1, 2], [3, 1]], [[1, 2, 3]]), "must have the shape 2 x 2"),
        (lambda: order_chances([[1, 2], [3, 1]], agreement=-1), "agreement must be at least 0"),
        (lambda: order_chances([[0, 900], [900, 0]], [[10**6, 10**6], [10**6, 10**6]], draws=50), "none of 50 draws"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
