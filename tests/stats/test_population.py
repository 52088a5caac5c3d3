"""Populations of problems: chances against SciPy and closed forms, and fits of what is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import betaln, gamma

from intact._base.errors import ParameterError
from intact.stats.laws import kumaraswamy
from intact.stats.laws.curve import fit_curve
from intact.stats.laws.population import FAMILIES, Population, fit_best, fit_population

shapes = st.floats(0.05, 8)


def draw(rng, population, problems):
    """Rates of problems of a known population."""
    uniform = rng.random(problems)
    if population.family.endswith("kumaraswamy"):
        rates = (1 - (1 - uniform) ** (1 / population.b)) ** (1 / population.a)
    else:
        rates = rng.beta(population.a, population.b, problems)
    return np.where(rng.random(problems) < population.never, 0, rates)


def counts(seed, population, problems, samples=100):
    rng = np.random.default_rng(seed)
    return np.full(problems, samples), rng.binomial(samples, draw(rng, population, problems))


@given(st.floats(0.2, 4), st.floats(0.3, 4), st.integers(1, 20), st.data())
def test_quadrature_is_the_integral(a, b, n, data):
    c = data.draw(st.integers(0, n))
    ways = math.comb(n, c)

    def integrand(u):
        p = (1 - (1 - u) ** (1 / b)) ** (1 / a)
        return ways * p**c * (1 - p) ** (n - c)

    grid = kumaraswamy.grid(np.array([n]), np.array([c]))
    expected = integrate.quad(integrand, 0, 1, limit=200, epsabs=1e-8)[0]
    assert ways * kumaraswamy.chances(grid, a, b)[0, 0] == pytest.approx(expected, abs=1e-7)


@given(shapes, st.integers(1, 200), st.data())
def test_quadrature_has_the_closed_forms_of_beta(a, n, data):
    """Kumaraswamy with b = 1 is Beta(a, 1), with a = 1 it is Beta(1, b)."""
    c = data.draw(st.integers(0, n))
    grid = kumaraswamy.grid(np.array([n]), np.array([c]))
    for first, second in ((a, 1.0), (1.0, a)):
        closed = math.exp(betaln(first + c, second + n - c) - betaln(first, second))
        assert kumaraswamy.chances(grid, first, second)[0, 0] == pytest.approx(closed, rel=1e-8)


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.1), (0.3, 2), (2, 0.5), (6, 9)])
def test_chances_of_all_counts_sum_up_to_one_and_derivatives_to_none(a, b):
    n = 30
    c = np.arange(n + 1)
    grid = kumaraswamy.grid(np.full(n + 1, n), c)
    chances = np.array([math.comb(n, i) for i in c]) @ kumaraswamy.chances(grid, a, b)
    assert chances == pytest.approx([1, 0, 0], abs=1e-9)
    for place, (up, down) in enumerate((((a + 1e-6, b), (a - 1e-6, b)), ((a, b + 1e-6), (a, b - 1e-6))), 1):
        slope = (kumaraswamy.chances(grid, *up) - kumaraswamy.chances(grid, *down))[:, 0] / 2e-6
        assert kumaraswamy.chances(grid, a, b)[:, place] == pytest.approx(slope, rel=1e-4, abs=1e-12)


def test_coverage_of_a_population_is_that_of_its_integral_and_tends_to_the_power_law():
    for population in (Population("beta", 0.3, 2, 0, 0), Population("kumaraswamy", 0.3, 2, 0, 0)):
        if population.family == "beta":
            constant = math.exp(-betaln(0.3, 2))
            expected = stats.beta(0.3, 2).expect(lambda p: 1 - (1 - p) ** 50)
        else:
            constant = 0.3 * 2
            expected = integrate.quad(lambda u: 1 - (1 - (1 - (1 - u) ** 0.5) ** (1 / 0.3)) ** 50, 0, 1)[0]
        assert population.pass_at_k(50) == pytest.approx(expected, abs=1e-6)
        k = np.array([1e7, 1e9])
        assert -np.log(population.pass_at_k(k)) == pytest.approx(constant * gamma(0.3) * k**-0.3, rel=0.01)
        inflated = population._replace(never=0.2)
        assert inflated.pass_at_k(50) == pytest.approx(0.8 * population.pass_at_k(50))


def test_the_likelihood_of_beta_is_that_of_scipy_and_nothing_near_is_likelier():
    n, c = counts(1, Population("beta", 0.5, 1.5, 0, 0), 300, 20)
    found = fit_population(n, c)
    assert found.log_likelihood == pytest.approx(stats.betabinom.logpmf(c, n, found.a, found.b).sum())
    for a, b in ((1.02, 1), (0.98, 1), (1, 1.02), (1, 0.98)):
        assert stats.betabinom.logpmf(c, n, a * found.a, b * found.b).sum() < found.log_likelihood


def test_the_mixture_is_what_the_inflated_families_say():
    n, c = counts(2, Population("zero-inflated beta", 1.0, 2.0, 0.3, 0), 600, 20)
    found = fit_population(n, c, "zero-inflated beta")
    chance = (1 - found.never) * stats.betabinom.pmf(c, n, found.a, found.b) + found.never * (c == 0)
    assert found.log_likelihood == pytest.approx(np.log(chance).sum())
    assert found.never == pytest.approx(0.3, abs=0.05)
    assert found.log_likelihood > fit_population(n, c, "beta").log_likelihood + 5
    assert fit_best(n, c).family.startswith("zero-inflated")
    # more parameters never fit worse
    for family in ("beta", "kumaraswamy"):
        more, less = fit_population(n, c, "zero-inflated " + family), fit_population(n, c, family)
        assert more.log_likelihood >= less.log_likelihood - 1e-6


@pytest.mark.parametrize(
    "population",
    [
        Population("beta", 0.3, 2.0, 0, 0),
        Population("beta", 0.6, 1.0, 0, 0),
        Population("kumaraswamy", 0.3, 2.0, 0, 0),
        Population("kumaraswamy", 0.8, 3.0, 0, 0),
    ],
    ids=lambda population: f"{population.family}-{population.a}",
)
def test_a_known_tail_is_recovered_from_100_samples_of_each_problem(population):
    """The exponent to 5 per cent, and pass@10,000 to 3 points; study/laws.md tells how many problems that takes."""
    for seed in range(3):
        found = fit_population(*counts(seed, population, 6000), population.family)
        assert found.exponent == pytest.approx(population.a, rel=0.05)
        assert found.pass_at_k(10_000) == pytest.approx(float(population.pass_at_k(10_000)), abs=0.03)


def test_problems_that_are_never_solved_are_foretold():
    population = Population("zero-inflated beta", 0.5, 1.5, 0.15, 0)
    for seed in range(3):
        found = fit_best(*counts(seed, population, 3000))
        assert found.family.startswith("zero-inflated")
        assert found.pass_at_k(10_000) == pytest.approx(float(population.pass_at_k(10_000)), abs=0.03)


def test_problems_may_have_unlike_many_samples():
    population = Population("kumaraswamy", 0.5, 2.0, 0, 0)
    rng = np.random.default_rng(4)
    n = rng.choice([2, 10, 50], 6000)
    c = rng.binomial(n, draw(rng, population, n.size))
    found = fit_population(n, c, "kumaraswamy")
    assert (found.a, found.b) == (pytest.approx(0.5, rel=0.06), pytest.approx(2, rel=0.06))


def test_problems_that_do_not_differ_are_noticed():
    n = np.full(400, 10)
    assert fit_population(n, np.tile([4, 5, 5, 6], 100)).at_bound
    assert not fit_population(n, np.random.default_rng(0).binomial(10, 0.2, 400) * 1).a < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_population([10, 10], [0, 0]), "no sample of any of 2 problems is right"),
        (lambda: fit_population([10, 10], [10, 10]), "nothing left to scale"),
        (lambda: fit_population([1, 1], [0, 1]), "one sample: differences of rates cannot be separated"),
        (lambda: fit_population([10], [3]), "at least two problems"),
        (lambda: fit_population([10, 10], [3, 11]), "for problem 1"),
        (lambda: fit_population([10, 10], [3, math.nan]), "got nan for problem 1"),
        (lambda: fit_population([10, 10], [3, 4], "normal"), "family must be one of beta, kumaraswamy"),
        (lambda: Population("beta", 1, 1, 0, 0).pass_at_k(0), "k must be at least 1"),
    ],
)
def test_degenerate_samples_are_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_families_are_those_that_can_be_fitted():
    n, c = counts(3, Population("beta", 1, 1, 0, 0), 50)
    assert [fit_population(n, c, family).family for family in FAMILIES] == list(FAMILIES)


@pytest.mark.filterwarnings("ignore:Values in x were outside bounds")  # SciPy 1.15 says so where it clips them
@pytest.mark.filterwarnings("error")
@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, 10, 1000]), st.floats(0, 1)), min_size=1, max_size=8), st.data())
def test_any_counts_are_refused_or_give_a_coverage_that_rises(problems, data):
    n = [samples for samples, _ in problems]
    c = [round(samples * share) for samples, share in problems]
    law = data.draw(st.sampled_from([*FAMILIES, "curve"]))
    try:
        found = fit_curve(n, c) if law == "curve" else fit_population(n, c, law)
    except ParameterError:
        return
    coverage = found.pass_at_k([1, 10, 1000, 100_000])
    assert (np.diff(coverage) >= -1e-9).all()
    assert coverage[0] >= 0
    assert coverage[-1] <= 1 + 1e-9
