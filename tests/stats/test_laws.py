"""Curves and extrapolation, saturation, imperfect verifiers, frontiers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.stats import pass_at_k
from intact.stats.laws import curve
from intact.stats.laws.curve import Curve, fit_curve
from intact.stats.laws.extrapolation import extrapolate
from intact.stats.laws.frontier import Point, frontier
from intact.stats.laws.population import Population
from intact.stats.laws.sample import cautions, sample
from intact.stats.laws.saturation import Saturation, fit_saturation
from intact.stats.laws.verifier import Verifier, best_attempts, ceiling, measure, reach


def beta_counts(seed, a=0.4, b=2.0, problems=300, samples=100):
    rng = np.random.default_rng(seed)
    return samples, rng.binomial(samples, rng.beta(a, b, problems))


@pytest.mark.parametrize(("a", "b"), [(-3, -0.5), (-0.5, -0.1), (-8, -1.2)])
def test_the_curve_is_recovered_from_itself(a, b):
    k = np.unique(np.geomspace(1, 100, curve.POINTS).round())
    told = np.exp(a * k**b)
    found = curve.fit_sample(sample([100, 100], [1, 9]), (k, np.stack([told, told], axis=1)))
    assert (found.a, found.b, found.exponent) == pytest.approx((a, b, -b), rel=1e-5)
    assert found.error < 1e-8


def test_the_curve_is_fitted_to_the_unbiased_coverage():
    n, c = beta_counts(0)
    found = fit_curve(n, c)
    assert (found.a < 0, found.b < 0) == (True, True)
    assert found.coverage == pytest.approx([pass_at_k(n, c, int(k)).mean() for k in found.k])
    assert (found.k[0], found.k[-1]) == (1, 100)
    assert 0 < found.error < 0.01
    assert found.pass_at_k([1, 100]) == pytest.approx(found.coverage[[0, -1]], abs=0.03)


def test_extrapolation_repeats_itself_and_holds_the_truth():
    truth = float(Population("beta", 0.4, 2.0, 0, 0).pass_at_k(10_000))
    n, c = beta_counts(1)
    found = extrapolate(n, c, [1, 100, 10_000], resamples=25)
    again = extrapolate(n, c, [1, 100, 10_000], resamples=25)
    assert all((one == other).all() for one, other in zip(found[2:5], again[2:5], strict=True))
    assert found.low[2] < truth < found.high[2]
    assert (found.low <= found.coverage).all()
    assert (found.coverage <= found.high).all()
    assert found.coverage[0] == pytest.approx(c.mean() / n, abs=0.01)
    assert found.coverage[1] == pytest.approx((c > 0).mean(), abs=0.02)
    assert found.exponent.low < 0.4 < found.exponent.high
    assert sum(found.chosen.values()) == 25
    assert (found.high - found.low)[2] > (found.high - found.low)[0] * 0.5


@pytest.mark.parametrize("populations", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_the_interval_of_one_family_holds_the_truth_as_often_as_it_says(populations):
    """The populations have a known tail; benchmarks/laws.py has more."""
    truth = float(Population("beta", 0.4, 2.0, 0, 0).pass_at_k(10_000))
    held = 0
    for seed in range(populations):
        n, c = beta_counts(seed, problems=200)
        found = extrapolate(n, c, laws=["beta"], resamples=40, seed=seed)
        held += found.low[0] <= truth <= found.high[0]
    assert held >= 0.875 * populations


def test_coverage_of_ten_thousand_samples_is_foretold_unless_asked_otherwise():
    assert extrapolate(10, [1, 2, 5, 9], laws=["beta"], resamples=20).k.tolist() == [10_000]


def test_the_curve_can_be_extrapolated_too():
    n, c = beta_counts(2)
    found = extrapolate(n, c, laws=["curve"], resamples=40)
    assert isinstance(found.law, Curve)
    assert found.chosen == {"curve": 40}
    assert found.low[0] < found.coverage[0] < found.high[0]
    assert found.exponent.low < found.exponent.estimate < found.exponent.high


def test_resamples_without_a_curve_are_passed_over_where_they_are_few():
    """Few problems have right and wrong samples: now and then a resample has none of them."""
    found = extrapolate(10, [10] * 50 + [0] * 47 + [5] * 3, laws=["curve"])
    assert 180 <= found.chosen["curve"] < 200
    with pytest.raises(ParameterError, match=r"of 200 resamples of the problems are degenerate") as raised:
        extrapolate(10, [10] * 50 + [0] * 49 + [5], laws=["curve"])
    degenerate = int(str(raised.value).split()[0])
    assert 50 < degenerate < 100, "the only problem with both is left out by a share 1/e of the resamples, 74 of 200"


def test_what_makes_a_tail_doubtful_is_said():
    assert cautions(10, [3, 0, 5, 9]) == (
        "problem 1 is the only one never solved: it alone is missing from coverage at k = n",
    )
    assert "every problem was solved at least once" in cautions(10, [1, 2, 5])[0]
    assert "3 of 5 problems were never solved" in cautions(10, [0, 0, 0, 5, 9])[0]
    assert cautions(10, [0, 0, 4, 5, 9]) == ()
    flat = extrapolate(10, np.tile([4, 5, 5, 6], 50), laws=["beta"], resamples=20)
    assert any("a shape ran to its bound" in doubt for doubt in flat.cautions)
    uneven = extrapolate(10, np.tile([0, 1, 5, 9, 0, 3], 20), laws=["beta"], resamples=20)
    assert not any("a shape ran to its bound" in doubt for doubt in uneven.cautions)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_curve(2, [0, 1]), "needs at least 3 samples of each problem, but one has 2"),
        (lambda: fit_curve(5, [0, 5]), "coverage is 0.5 for every k"),
        (lambda: fit_curve(5, [0, 0]), "no sample of any of 2 problems is right"),
        (lambda: fit_curve([5], [1]), "at least two problems"),
        (lambda: extrapolate(10, [1, 2], 0), "k must be at least 1, got 0"),
        (lambda: extrapolate(10, [1, 2], math.nan), "k must be whole numbers"),
        (lambda: extrapolate(10, [1, 2], laws=["curve", "beta"]), 'or only "curve"'),
        (lambda: extrapolate(10, [1, 2], laws=["bets"]), "family must be one of"),
        (lambda: extrapolate(10, [1, 2], resamples=5), "resamples must be at least 20"),
        (lambda: extrapolate(10, [0, 0, 3], laws=["beta"]), "resamples of the problems are degenerate"),
        (lambda: extrapolate(10, [0, 12]), "n = 10 and c = 12 for problem 1"),
    ],
)
def test_degenerate_samples_are_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


@given(st.floats(0.05, 1), st.floats(0.001, 1), st.floats(1e-5, 0.5))
def test_the_saturation_point_is_the_first_whose_next_sample_gains_no_more_than_epsilon(f_max, p, epsilon):
    model = Saturation(f_max, p)
    point = model.point(epsilon)

    def gain(n):
        return f_max * p * (1 - p) ** n

    assert gain(point) <= epsilon * (1 + 1e-9)
    assert point == 0 or gain(point - 1) > epsilon * (1 - 1e-9)
    assert float(model.accuracy(point + 1) - model.accuracy(point)) == pytest.approx(gain(point), abs=1e-12)


def test_saturation_is_recovered_from_its_curve():
    n = np.array([1, 2, 4, 8, 16, 32])
    found = fit_saturation(n, Saturation(0.8, 0.15).accuracy(n))
    assert (found.f_max, found.p, found.error) == pytest.approx((0.8, 0.15, 0), abs=1e-6)
    assert found.point(0.001) == math.ceil(math.log(0.001 / 0.12) / math.log(0.85)) == 30
    assert Saturation(0.5, 1.0).point() == 1
    with pytest.raises(ParameterError, match="does not grow from 1 to 4 samples"):
        fit_saturation([1, 2, 4], [0.5, 0.6, 0.5])
    with pytest.raises(ParameterError, match="three or more different numbers"):
        fit_saturation([1, 2, 2], [0.5, 0.6, 0.6])
    with pytest.raises(ParameterError, match="three or more different numbers"):
        fit_saturation([0, 1, 2], [0, 0.6, 0.6])
    with pytest.raises(ParameterError, match=r"accuracies must lie in \[0, 1\]"):
        fit_saturation([1, 2, 3], [50, 60, 70])
    with pytest.raises(ParameterError, match=r"F_max and p must lie in \(0, 1\]"):
        Saturation(0.5, 0).point()
    with pytest.raises(ParameterError, match="epsilon must be positive"):
        Saturation(0.5, 0.5).point(0)


RATES, PRIORS = [0.87, 0.13], [0.58, 0.42]
TESTS = Verifier(completeness=0.9, soundness=0.75)


def test_the_ceiling_by_hand():
    easy, hard = 0.87 / (0.87 + 0.25 * 0.13), 0.13 / (0.13 + 0.25 * 0.87)
    assert ceiling(RATES, PRIORS, Verifier(1, 0.75)) == pytest.approx(0.58 * easy + 0.42 * hard)
    assert ceiling(RATES, PRIORS) == pytest.approx(1)  # a perfect verifier has none
    assert ceiling([0.5, 0.0]) == 0.5  # what is never right is never accepted by one
    assert ceiling(RATES, PRIORS, Verifier(1, 0)) == pytest.approx(0.58 * 0.87 + 0.42 * 0.13)  # accepts everything


def test_attempts_tend_to_the_ceiling_and_are_what_resampling_gives():
    told = reach([0, 1, 5, 10_000], RATES, PRIORS, TESTS)
    assert (told.right[0], told.fluke[0]) == (0, 0)
    assert told.right[1] == pytest.approx(0.9 * np.dot(RATES, PRIORS))
    assert told.right[3] == pytest.approx(ceiling(RATES, PRIORS, TESTS))
    assert told.right[3] + told.fluke[3] == pytest.approx(1)
    rng = np.random.default_rng(0)
    rates = rng.choice(RATES, p=PRIORS, size=40_000)
    right = rng.random((40_000, 5)) < rates[:, None]
    accepted = rng.random((40_000, 5)) < np.where(right, TESTS.completeness, 1 - TESTS.soundness)
    first = accepted.argmax(axis=1)
    hit = accepted.any(axis=1) & right[np.arange(40_000), first]
    assert hit.mean() == pytest.approx(told.right[2], abs=0.01)
    assert (accepted.any(axis=1) & ~hit).mean() == pytest.approx(told.fluke[2], abs=0.01)
    one = reach(3, RATES, PRIORS, TESTS)
    assert np.shape(one.right) == ()


@pytest.mark.parametrize("fluke", [-0.7, -1.0, -2.0])
def test_where_flukes_cost_few_attempts_are_best(fluke):
    verifier = Verifier(1, 0.75)
    found = best_attempts(RATES, PRIORS, verifier, fluke=fluke)
    told = reach(range(200), RATES, PRIORS, verifier)
    values = told.right + fluke * told.fluke
    assert found.attempts == values.argmax()
    assert found.value == pytest.approx(values.max())
    assert 0 < found.attempts < 10
    assert best_attempts(RATES, PRIORS, fluke=fluke, most=50).attempts == 50  # a perfect verifier: never give up
    assert best_attempts(RATES, PRIORS, verifier, fluke=fluke, cost=1) == (0, 0)


def test_a_verifier_is_measured_from_judged_samples():
    found = measure([1, 1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0])
    assert found.verifier == (0.75, 0.75)
    assert found.completeness.low < 0.75 < found.completeness.high
    with pytest.raises(ParameterError, match="on right and on wrong samples, got 2 and 0"):
        measure([1, 0], [1, 1])
    with pytest.raises(ParameterError, match="needs a verdict and a truth"):
        measure([0.5, 0], [1, 0])
    with pytest.raises(ParameterError, match=r"rates must lie in \[0, 1\]"):
        ceiling([1.2])
    with pytest.raises(ParameterError, match="priors must sum to 1"):
        ceiling([0.2, 0.3], [0.5, 0.6])
    with pytest.raises(ParameterError, match=r"soundness must lie in \[0, 1\], got \(1.0, 2\)"):
        ceiling([0.2], verifier=Verifier(soundness=2))
    with pytest.raises(ParameterError, match="attempts must be at least 0"):
        reach(-1, [0.5])
    with pytest.raises(ParameterError, match="worths must be finite"):
        best_attempts([0.5], fluke=-math.inf)


methods = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8)


@given(methods)
def test_the_frontier_is_what_nothing_dominates(drawn):
    points = [Point(f"m{i}", accuracy, {"tokens": cost}) for i, (accuracy, cost) in enumerate(drawn)]

    def beats(one, other):
        better, cheaper = one.accuracy - other.accuracy, other.cost["tokens"] - one.cost["tokens"]
        return better >= 0 and cheaper >= 0 and (better > 0 or cheaper > 0)

    found = frontier(points)
    assert {point.name for point in found.kept} == {p.name for p in points if not any(beats(o, p) for o in points)}
    by_name = {point.name: point for point in points}
    assert {*found.dominated} | {point.name for point in found.kept} == {*by_name}
    assert all(beats(by_name[better], by_name[worse]) for worse, better in found.dominated.items())
    assert [p.cost["tokens"] for p in found.kept] == sorted(p.cost["tokens"] for p in found.kept)


def test_frontiers_differ_by_unit_and_bad_points_are_named():
    points = [
        Point("one", 0.4, {"tokens": 100, "seconds": 1}),
        Point("vote", 0.5, {"tokens": 800, "seconds": 2}),
        Point("search", 0.5, {"tokens": 700, "seconds": 9}),
    ]
    assert frontier(points).dominated == {"vote": "search"}
    assert frontier(points, "seconds").dominated == {"search": "vote"}
    with pytest.raises(ParameterError, match="one has no cost in operations, but only in tokens, seconds"):
        frontier(points, "operations")
    with pytest.raises(ParameterError, match="two methods are named 'one'"):
        frontier([points[0], points[0]])
    with pytest.raises(ParameterError, match="one has an accuracy of nan"):
        frontier([points[0]._replace(accuracy=math.nan)])
    with pytest.raises(ParameterError, match="at least one method"):
        frontier([])


def test_a_fifth_of_a_published_log_foretells_the_whole(data_dir):
    """GPT-4 on 100 games of 24: laws fitted to 20 samples of each say, with their intervals, what 100 came to."""
    for method, solved in (("standard_sample", 0.33), ("cot_sample", 0.49)):
        (path,) = (data_dir / "logs" / "game24_gpt4").glob(f"*{method}*.json")
        puzzles = json.loads(path.read_text())
        right = np.array([p.get("accs") or [info["r"] for info in p["infos"]] for p in puzzles])
        assert pass_at_k(100, right.sum(axis=1), 100).mean() == solved
        found = extrapolate(20, right[:, :20].sum(axis=1), 100, ["beta", "kumaraswamy"], resamples=40)
        assert found.low[0] < solved < found.high[0]
        assert found.high[0] - found.low[0] > 0.15  # which is not much to know
        assert "never solved" in found.cautions[0]
