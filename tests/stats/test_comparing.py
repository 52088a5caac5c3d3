"""Two methods on the same problems, and many at once: against hand computation, SciPy, statsmodels and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from intact._base.errors import ParameterError
from intact.stats import (
    Discordance,
    benjamini_hochberg,
    holm,
    mcnemar,
    mean_problems,
    paired_bootstrap,
    paired_power,
    paired_problems,
    permutation,
    smallest_difference,
    tost,
    unpaired_problems,
)


def table(both, b, c, neither):
    """Verdicts of two methods with these counts."""
    first = [1] * (both + b) + [0] * (c + neither)
    return first, [1] * both + [0] * b + [1] * c + [0] * neither


def test_mcnemar_by_hand():
    found = mcnemar(*table(20, 7, 1, 12))
    assert found[:5] == (20, 7, 1, 12, 6 / 40)
    assert found.exact == pytest.approx(2 * (1 + 8) / 2**8)
    assert found.mid == pytest.approx((2 * 1 + 8) / 2**8)
    d, p = 6 / 42, 10 / 42
    half = 1.959963984540054 * math.sqrt((p - d * d) / 42)
    assert (found.low, found.high) == pytest.approx((d - half, d + half))
    half = 1.959963984540054 * math.sqrt(2) / 7
    assert mcnemar(*table(3, 0, 0, 2))[4:] == (0, pytest.approx(-half), pytest.approx(half), 1, 1)


@given(st.integers(0, 30), st.integers(0, 30))
def test_exact_mcnemar_is_the_sign_test(b, c):
    found = mcnemar(*table(5, b, c, 5))
    assert found.exact == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1)
    assert 0 < found.mid <= found.exact + 1e-12
    assert mcnemar(*table(5, c, b, 5)).mid == pytest.approx(found.mid)


def test_mid_p_rejects_as_often_as_it_says_and_the_exact_test_less_often():
    problems, p_b, p_c = 200, 0.1, 0.1
    rng = np.random.default_rng(0)
    b, c, _ = rng.multinomial(problems, (p_b, p_c, 1 - p_b - p_c), 2000).T
    values = {
        pair: mcnemar(*table(0, *pair, problems - sum(pair))) for pair in {*zip(b.tolist(), c.tolist(), strict=True)}
    }
    found = [values[pair] for pair in zip(b.tolist(), c.tolist(), strict=True)]
    exact, mid = (np.mean([getattr(one, name) <= 0.05 for one in found]) for name in ("exact", "mid"))
    assert exact < mid
    assert 0.035 < mid < 0.06
    assert 0.93 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.97


def test_the_paired_bootstrap_is_that_of_differences_and_narrower_than_two_intervals():
    rng = np.random.default_rng(3)
    hard = rng.beta(0.5, 0.5, 200)
    one, other = rng.binomial(8, hard) / 8, rng.binomial(8, hard * 0.9) / 8
    found = paired_bootstrap(one, other, resamples=2000)
    half = stats.t.ppf(0.975, 199) * np.std(one - other, ddof=1) / 200**0.5
    assert found.estimate == pytest.approx(np.mean(one - other))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)
    assert half < 0.5 * stats.t.ppf(0.975, 199) * math.hypot(np.std(one), np.std(other)) / 200**0.5


def test_permutation_is_exact_where_it_can_be():
    one, other = [0.9, 0.8, 0.7, 0.9, 0.6], [0.5, 0.7, 0.6, 0.4, 0.5]
    gaps = np.subtract(one, other)
    signs = np.array(np.meshgrid(*[[1, -1]] * 5)).reshape(5, -1).T
    expected = np.mean(np.abs(signs @ gaps) >= gaps.sum() - 1e-12)
    assert permutation(one, other) == (pytest.approx(gaps.mean()), expected, 32)
    many = permutation(np.arange(40) % 3, np.arange(40) % 2, resamples=999)
    assert many.tried == 999
    assert many == permutation(np.arange(40) % 3, np.arange(40) % 2, resamples=999)


def test_corrections_by_hand():
    p = [0.01, 0.04, 0.03, 0.5]
    assert holm(p).p == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm(p).rejected.tolist() == [True, False, False, False]
    assert benjamini_hochberg(p).p == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert benjamini_hochberg(p, 0.06).rejected.tolist() == [True, True, True, False]
    assert stats.false_discovery_control(p) == pytest.approx(benjamini_hochberg(p).p)


@pytest.mark.slow
def test_corrections_are_those_of_statsmodels_to_the_bit():
    rng = np.random.default_rng(5)
    for size in (1, 2, 7, 40):
        for p in (rng.random(size), rng.random(size).round(1), rng.random(size) ** 4):
            for level in (0.05, 0.3):
                for own, name in ((holm, "holm"), (benjamini_hochberg, "fdr_bh")):
                    rejected, adjusted, *_ = multipletests(p, level, name)
                    found = own(p, level)
                    assert (found.p.tolist(), found.rejected.tolist()) == (adjusted.tolist(), rejected.tolist())


def test_two_one_sided_tests_are_two_t_tests_and_their_interval_decides():
    rng = np.random.default_rng(4)
    one = rng.random(60)
    other = one + rng.normal(0.01, 0.05, 60)
    for margin in (0.01, 0.02, 0.03):
        found = tost(one, other, margin)
        below = stats.ttest_1samp(one - other, -margin, alternative="greater").pvalue
        above = stats.ttest_1samp(one - other, margin, alternative="less").pvalue
        assert found.p == pytest.approx(max(below, above))
        assert found.equivalent == (-margin < found.low and found.high < margin)
    assert [tost(one, other, margin).equivalent for margin in (0.001, 0.1)] == [False, True]


def test_methods_that_differ_by_the_margin_are_called_equivalent_as_rarely_as_alpha_says():
    rng = np.random.default_rng(5)
    gaps = rng.normal(0.05, 0.2, (1500, 80))
    called = np.mean([tost(row, np.zeros(80), 0.05).equivalent for row in gaps])
    assert 0.035 < called < 0.065


def test_the_number_of_problems_tells_two_methods_apart_as_often_as_wanted():
    chances = Discordance.of(0.8, 0.75, correlation=0.6)
    assert chances.only_first - chances.only_second == pytest.approx(0.05)
    rng = np.random.default_rng(6)
    for test in ("exact", "mid"):  # the first is the one that reports use
        problems = paired_problems(chances, power=0.8, test=test)
        assert paired_power(chances, problems, test=test) >= 0.8 > paired_power(chances, problems - 1, test=test)
        b, c, _ = rng.multinomial(problems, (*chances, 1 - sum(chances)), 4000).T
        told = {pair: getattr(mcnemar(*table(0, *pair, 0)), test) for pair in {*zip(b.tolist(), c.tolist())}}  # noqa: B905
        power = np.mean([told[pair] <= 0.05 for pair in zip(b.tolist(), c.tolist(), strict=True)])
        assert power == pytest.approx(0.8, abs=0.02)
    problems = paired_problems(chances, power=0.8, test="normal")
    assert paired_power(chances, problems, test="normal") == pytest.approx(0.8, abs=0.001)
    assert paired_power(chances, problems) < 0.79, "planned for the normal test, the exact one of reports falls short"
    # the same accuracies on unlike problems need several times as many
    unpaired = unpaired_problems(0.8, 0.75, power=0.8)
    assert unpaired > 2.4 * problems
    one, other = rng.binomial(unpaired, 0.8, 4000), rng.binomial(unpaired, 0.75, 4000)
    share = (one + other) / (2 * unpaired)
    z = (one - other) / unpaired / np.sqrt(2 * share * (1 - share) / unpaired)
    assert np.mean(np.abs(z) > 1.959964) == pytest.approx(0.8, abs=0.03)


def test_more_samples_save_problems_but_never_what_problems_differ_by():
    needed = [mean_problems(0.03, between=0.01, within=0.3, samples=samples) for samples in (1, 4, 64, 10**6)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] == mean_problems(0.03, between=0.01)
    assert needed[0] == mean_problems(0.03, between=0.01, within=0.3) > needed[1]
    effect = 0.03 / math.sqrt(0.01 + 0.3 / 4)
    assert TTestPower().power(effect, needed[1], 0.05) >= 0.8 > TTestPower().power(effect, needed[1] - 1, 0.05)
    rng = np.random.default_rng(7)
    gaps = 0.03 + rng.normal(0, math.sqrt(0.01 + 0.3 / 4), (2000, needed[1]))
    assert np.mean(stats.ttest_1samp(gaps, 0, axis=1).pvalue <= 0.05) == pytest.approx(0.8, abs=0.03)
    assert mean_problems(1.0, between=1e-6) == 2
    assert [paired_power(Discordance(1, 0), problems, test="normal") for problems in (3, 4)] == [0, 1]
    assert [paired_power(Discordance(1, 0), problems) for problems in (5, 6)] == [0, 1], "2 / 2^6 is below 5%"


@pytest.mark.parametrize("test", ["exact", "mid", "normal"])
@pytest.mark.parametrize(("discordant", "problems"), [(0.0, 40), (0.25, 100), (1.0, 60), (0.4, 8)])
def test_the_smallest_difference_is_found_with_the_power_and_no_smaller_one(test, discordant, problems):
    def power(d):
        s = max(discordant, d)
        return paired_power(Discordance((s + d) / 2, (s - d) / 2), problems, test=test)

    d = smallest_difference(discordant, problems, test=test)
    assert power(d) >= 0.8 > power(d - 0.0001)


def test_few_problems_show_no_difference_at_all():
    assert [smallest_difference(0.5, problems) for problems in (5, 6)] == [math.inf, pytest.approx(0.97, abs=0.02)]
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ParameterError, match="share of discordant problems must lie in"):
            smallest_difference(wrong, 100)


@pytest.mark.parametrize("test", ["exact", "mid"])
@pytest.mark.parametrize(("chances", "problems"), [((0.3, 0.1), 9), ((0.5, 0.05), 12), ((0.02, 0.2), 10)])
def test_power_is_the_chance_of_all_outcomes_that_the_test_rejects(test, chances, problems):
    expected, rest = 0.0, 1 - sum(chances)
    for b in range(problems + 1):
        for c in range(problems + 1 - b):
            ways = math.comb(problems, b) * math.comb(problems - b, c)
            if getattr(mcnemar(*table(0, b, c, 1)), test) <= 0.05:
                expected += ways * chances[0] ** b * chances[1] ** c * rest ** (problems - b - c)
    assert paired_power(Discordance(*chances), problems, test=test) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mcnemar([1, 0], [1]), "the same problems, got 2 and 1"),
        (lambda: mcnemar([0.5, 1], [1, 0]), "right or wrong; use `paired_bootstrap`"),
        (lambda: mcnemar([], []), "list of at least 1"),
        (lambda: paired_bootstrap([1, 0], [1, 0]), "the two methods differ by 0 on all 2 problems"),
        (lambda: permutation([1], [0]), "list of at least 2"),
        (
            lambda: permutation([1, math.nan], [0, 0]),
            "values of the first method must be finite, got nan for problem 1",
        ),
        (lambda: tost([1, 0, 1], [1, 0, 1], 0.1), "differ by 0 on all 3 problems: .*`mcnemar`"),
        (lambda: tost([1, 0], [1, 1], 0), "the margin must be positive"),
        (lambda: holm([0.5, 1.5]), r"p-values must lie in \[0, 1\]"),
        (lambda: benjamini_hochberg([]), "p-values must be a list of at least 1"),
        (lambda: paired_problems(Discordance(0.1, 0.1)), "no number of problems can tell them apart"),
        (lambda: paired_problems(Discordance(0.6, 0.5)), "sum to at most 1"),
        (lambda: paired_problems(Discordance(0.2, 0.1), power=1), "the power must lie between 0 and 1"),
        (lambda: paired_power(Discordance(0.2, 0.1), 0), "problems must be at least 1"),
        (lambda: paired_power(Discordance(0.2, 0.1), 9, test="t"), "one of exact, mid, normal, got 't'"),
        (lambda: Discordance.of(0.9, 0.2, 0.9), "cannot have a correlation of 0.9"),
        (lambda: unpaired_problems(0.5, 0.5), "no number of problems can tell them apart"),
        (lambda: unpaired_problems(0.5, 1), "an accuracy must lie between 0 and 1, got 1"),
        (lambda: mean_problems(0, 0.1), "the difference must be finite and not 0"),
        (lambda: mean_problems(0.1, 0, 0), "the variance must be positive, got 0.1 and 0"),
    ],
)
def test_what_makes_no_sense_is_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
