"""Components of variance: against analysis of variance by statsmodels, by hand, and unbiased in simulation."""

import math

import numpy as np
import pytest
from pandas import DataFrame
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from intact._base.errors import ParameterError
from intact.stats import clustered, split, split_counts


def test_counts_by_hand():
    found = split_counts([4, 4], [1, 3])
    # 1/4 and 3/4: variance 1/8 between, of which (3/16) / 3 is noise
    assert (found.mean, found.error) == (0.5, pytest.approx(0.25))
    assert [part.variance for part in found.parts] == pytest.approx([1 / 8 - 1 / 16, 1 / 4])
    assert sum(part.error**2 for part in found.parts) == pytest.approx(found.error**2)


def test_counts_of_unlike_many_samples_by_hand():
    found = split_counts([2, 6], [1, 3])
    # 1/2 both: noise (1/4) / 1 and (1/4) / 5, of mean 3/20; samples' variance (2/4 + 6/20) / 2 = 2/5
    assert [part.variance for part in found.parts] == pytest.approx([-3 / 20, 2 / 5])
    assert found.parts[1].error ** 2 == pytest.approx(3 / 20 / 2)


def test_counts_and_tables_agree():
    right = np.random.default_rng(0).random((30, 8)) < np.random.default_rng(1).random((30, 1))
    told, of_table = split_counts(8, right.sum(axis=1)), split(right)
    assert told.mean == of_table.mean
    assert [*told.parts[0][1:], *told.parts[1][1:]] == pytest.approx([*of_table.parts[0][1:], *of_table.parts[1][1:]])
    assert told.error == pytest.approx(clustered(right).error)


def test_a_table_is_what_mean_squares_say():
    rng = np.random.default_rng(2)
    problems, prompts, samples = 6, 4, 3
    table = rng.normal(size=(problems, prompts, samples)) + rng.normal(size=(problems, 1, 1))
    table += 0.5 * rng.normal(size=(1, prompts, 1))
    place = np.indices(table.shape).reshape(3, -1)
    squares = anova_lm(ols("x ~ C(a) * C(b)", DataFrame({"x": table.ravel(), "a": place[0], "b": place[1]})).fit())
    a, b, both, rest = squares["sum_sq"] / squares["df"]
    expected = [
        (a - both) / (prompts * samples),
        (b - both) / (problems * samples),
        (both - rest) / samples,
        rest,
    ]
    found = split(table)
    assert [part.source for part in found.parts] == ["problem", "prompt", "problem x prompt", "sample"]
    assert [part.variance for part in found.parts] == pytest.approx(expected)
    counts = (problems, prompts, problems * prompts, table.size)
    assert found.error**2 == pytest.approx(sum(max(0, v) / n for v, n in zip(expected, counts, strict=True)))
    assert found.error**2 == pytest.approx(sum(part.error**2 for part in found.parts))


def test_chance_alone_is_not_taken_for_certainty():
    """Of tables of noise the components may sum up to less than 0."""
    rng = np.random.default_rng(0)
    for shape in ((6, 4, 3), (100, 2, 8)):
        table = rng.random((100, *shape))
        assert min(split(one).error for one in table) > 0.5 * math.sqrt(1 / 12 / math.prod(shape))


def test_components_are_unbiased():
    """Binary samples of unlike problems, unlike many of each; and tables with known effects."""
    rng = np.random.default_rng(3)
    n = np.array([2, 3, 5, 8, 20, 2, 4, 9])
    rates = rng.beta(1, 2, (4000, n.size))
    found = [split_counts(n, c) for c in rng.binomial(n, rates)]
    problem, sample = np.mean([[part.variance for part in one.parts] for one in found], axis=0)
    assert problem == pytest.approx(1 / 18, rel=0.03)  # the variance of Beta(1, 2)
    assert sample == pytest.approx(1 / 6, rel=0.03)  # the mean of p (1 - p)
    means = np.array([one.mean for one in found])
    assert np.mean([one.error**2 for one in found]) == pytest.approx(means.var(), rel=0.06)

    true = (1.0, 0.5, 0.3, 2.0)
    told = []
    for _ in range(3000):
        a, b, c, e = (
            rng.normal(0, math.sqrt(v), s)
            for v, s in zip(true, ((6, 1, 1), (1, 4, 1), (6, 4, 1), (6, 4, 2)), strict=True)
        )
        told.append([part.variance for part in split(a + b + c + e).parts])
    assert np.mean(told, axis=0) == pytest.approx(true, rel=0.06)
    assert min(row[2] for row in told) < 0  # which unbiased estimates of what is small must be at times


def test_more_samples_leave_the_part_of_problems():
    few, many = split_counts([4] * 6, [0, 1, 2, 2, 3, 4]), split_counts([400] * 6, [0, 100, 200, 200, 300, 400])
    assert few.parts[1].error > 5 * many.parts[1].error
    assert many.parts[0].error == pytest.approx(many.error, rel=0.01)
    assert split_counts([5, 5], [5, 0]).parts[1] == ("sample", 0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split_counts([4, 1], [1, 1]), "problem 1 has one"),
        (lambda: split_counts([4], [1]), "at least two problems"),
        (lambda: split([[1], [0]]), "two samples"),
        (lambda: split(np.zeros((2, 1, 2))), "two prompts"),
        (lambda: split([[1, 0], [math.nan, 1]]), "values must be finite, got nan for problem 1"),
    ],
)
def test_what_cannot_be_split_is_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
