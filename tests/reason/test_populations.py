"""Weights, temperatures, allotments and choices, against hand computations."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.reason.populations.annealing import entropic_temperature
from intact.reason.populations.beam import best_of_trees, keep_best
from intact.reason.populations.rebase import allot
from intact.reason.populations.thompson import PRIORS, Beta, Normal, thompson, wider_or_deeper
from intact.reason.populations.transformers import join
from intact.reason.populations.tree import Child, puct, uct
from intact.reason.populations.variates import RandomStream
from intact.reason.weighted import Weighted
from intact.reason.weights import effective_size, log_mean, logit, normalised_entropy, relative

LOGS = st.lists(st.floats(-50, 50), min_size=1, max_size=12)


def test_odds_are_clipped_as_published() -> None:
    assert logit(0.5) == 0.0
    assert math.isclose(logit(0.8), math.log(4))
    assert logit(0.0) == logit(1e-9) == logit(1e-7)
    assert math.isclose(logit(1.0), -logit(0.0), rel_tol=1e-9)
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(ParameterError, match="must lie in"):
            logit(bad)


@given(LOGS, st.sampled_from([0.5, 1.0, 3.0]))
def test_weights_are_the_softmax(logs: list[float], temperature: float) -> None:
    weights = np.array(relative(logs, temperature))
    expected = np.exp(np.array(logs) / temperature - max(logs) / temperature)
    assert np.allclose(weights, expected, rtol=1e-12)
    p = weights / weights.sum()
    assert math.isclose(effective_size(weights.tolist()), 1 / (p**2).sum(), rel_tol=1e-12)
    entropy = -(p[p > 0] * np.log(p[p > 0])).sum() / (math.log(len(p)) or 1)
    assert math.isclose(normalised_entropy(weights.tolist()), entropy, abs_tol=1e-12)
    assert math.isclose(log_mean(logs), math.log(np.exp(logs).mean()), rel_tol=1e-12, abs_tol=1e-12)


def test_impossible_particles_weigh_nothing() -> None:
    logs = [-math.inf, 0.0, 0.0]
    assert relative(logs) == [0.0, 1.0, 1.0]
    assert relative(logs, math.inf) == [0.0, 1.0, 1.0]
    assert log_mean(logs) == pytest.approx(math.log(2 / 3))
    assert effective_size(relative(logs)) == 2.0
    assert effective_size([0, 0]) == 0.0
    for bad in ([], [-math.inf], [math.nan, 0.0], [math.inf]):
        with pytest.raises(ParameterError, match="at least one must be finite"):
            relative(bad)
        with pytest.raises(ParameterError, match="at least one must be finite"):
            log_mean(bad)
    with pytest.raises(ParameterError, match="temperature"):
        relative([0.0], 0.0)


def test_a_population_of_nothing_changes_no_mass_beside_it() -> None:
    some: Weighted[str] = Weighted(("a", "b"), (2, 1), 4)
    nothing: Weighted[str] = Weighted((), (), 0)
    for joined in (join(some, nothing), join(nothing, some)):
        assert [Fraction(weight) / joined.whole for weight in joined.weights] == [Fraction(1, 2), Fraction(1, 4)]


def test_temperatures_of_collapsed_weights() -> None:
    """One of four has nearly all: ESS = 1.006, so ESS / N = 0.2515; H = 0.0151."""
    logs = [math.log(997), 0.0, 0.0, 0.0]
    assert entropic_temperature(logs, 0.25) == pytest.approx(4 / 1.00603 * 0.75, rel=1e-4)
    entropy = normalised_entropy(relative(logs))
    assert entropic_temperature(logs, 0.25, "entropy") == pytest.approx(1 / (entropy + (1 - entropy) / 4))
    assert entropic_temperature(logs, 0.25, "base", highest=3.0) == 2.75
    assert entropic_temperature(logs, 0.5) == 1.0, "not early any more"
    assert entropic_temperature([0.0] * 4, 0.0) == 1.0, "not collapsed"
    assert entropic_temperature([0.0, -math.inf, -math.inf], 0.0, "entropy") == math.inf
    assert entropic_temperature(logs, 0.25, collapse=0.2) == 1.0
    with pytest.raises(ParameterError, match="ess, entropy, base"):
        entropic_temperature(logs, 0.25, "none")
    with pytest.raises(ParameterError, match="progress"):
        entropic_temperature(logs, 1.5)


def test_beams_keep_the_best_once() -> None:
    scores = [0.5, 0.9, None, 0.9, 0.1]
    assert keep_best(scores, 3) == [1, 3, 0]
    assert keep_best(scores, 3, ["a", "b", "c", "b", "d"]) == [1, 0, 4]
    assert keep_best(scores, 9) == [1, 3, 0, 4]
    assert best_of_trees([0.5, 0.9, 0.9, 0.1, None, None], 2) == [1, 2]


def test_rebase_by_hand() -> None:
    """e^(R / .2) = 90.0, 12.2, 1.65: ceil(16 x .867) = 14, ceil(2 x .881) = 2, nothing left; at T = 1: 8, 5, 3."""
    assert allot([0.5, 0.9, 0.1], 16, 0.2) == [2, 14, 0]
    assert allot([0.5, 0.9, 0.1], 16, 1.0) == [5, 8, 3]
    assert allot([0.5, 0.5, 0.5], 4) == [2, 1, 1], "ceil(4 / 3), ceil(2 / 2), 1"
    assert allot([0.3], 7) == [7]
    assert allot([], 7) == []
    for bad in ((-1, [0.5]), (4, [math.nan])):
        with pytest.raises(ParameterError, match="rewards must be finite"):
            allot(bad[1], bad[0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 40), st.sampled_from([0.01, 0.2, 5.0]))
def test_rebase_spends_its_width_and_prefers_the_better(rewards: list[float], width: int, temperature: float) -> None:
    counts = allot(rewards, width, temperature)
    assert sum(counts) == width
    for better, more in zip(rewards, counts, strict=True):
        assert all(count <= more + 1 for other, count in zip(rewards, counts, strict=True) if other < better)


def test_uct_by_hand() -> None:
    children = [Child(10, 6.0), Child(5, 3.5), Child(1, 0.2)]
    # N = 16: .6 + w sqrt(.277), .7 + w sqrt(.5545), .2 + w sqrt(2.7726)
    assert uct(children, 0.0) == 1
    assert uct(children, 0.1) == 1
    assert uct(children, 1.0) == 2  # 1.127, 1.445, 1.865
    assert uct([*children, Child(), Child()], 0.0) == 3, "the first never visited"
    assert uct([Child(1, 0.5), Child(1, 0.5)]) == 0


def test_a_closed_child_is_never_chosen_and_its_visits_still_count() -> None:
    closed = Child(98, 98.0, 0.5, closed=True)
    assert uct([closed, Child(1, 0.0)]) == 1
    assert puct([closed, Child(1, 0.0, 0.5)]) == 1
    # N = 100 with the closed ones' visits, 4 without: w sqrt(ln N) (1 - 1 / sqrt(3)) = .907 and .498, against .7
    pair = [Child(3, 2.1), Child(1, 0.0)]
    assert uct([closed._replace(visits=96), *pair], 1.0) == 2
    assert uct(pair, 1.0) == 0
    # c sqrt(N) P (1/2 - 1/4) = 1.57 and .31 at P = 1/2, against .7
    assert puct([closed._replace(visits=96), *(child._replace(prior=0.5) for child in pair)]) == 2
    assert puct([child._replace(prior=0.5) for child in pair]) == 0


def test_puct_by_hand() -> None:
    children = [Child(10, 6.0, 0.2), Child(5, 3.5, 0.3), Child(0, 0.0, 0.5)]
    # N = 15, c = 1.2508: .6 + .0881, .7 + .2422, 0 + 2.4222
    assert puct(children) == 2
    assert puct([*children[:2], Child(9, 0.0, 0.5)]) == 1
    assert puct([Child(prior=0.2), Child(prior=0.4), Child(prior=0.4)]) == 1
    assert Child(1, 0.5).visit(0.25) == Child(2, 0.75)
    assert Child(2, 0.75).mean == 0.375


def test_the_weight_of_priors_in_puct_is_that_of_its_source() -> None:
    """At N = 100 and c = ln(19753 / 19652) + 1.25 a child never visited, of prior 1, has the bound 10 c."""
    bound = 10 * (math.log((100 + 19652 + 1) / 19652) + 1.25)
    for mean, chosen in ((bound - 1e-9, 1), (bound + 1e-9, 0)):
        assert puct([Child(100, 100 * mean, 0.0), Child(0, 0.0, 1.0)]) == chosen


def test_variates_have_their_laws_and_pinned_bits() -> None:
    from scipy.stats import beta, gamma, kstest, norm, uniform

    stream = RandomStream(2026)
    for draw, law in (
        (stream.uniform, uniform.cdf),
        (stream.normal, norm.cdf),
        (lambda: stream.gamma(0.5), gamma(0.5).cdf),
        (lambda: stream.gamma(3.5), gamma(3.5).cdf),
        (lambda: stream.beta(0.5, 2.5), beta(0.5, 2.5).cdf),
    ):
        values = [draw() for _ in range(1000)]
        assert kstest(values, law).pvalue > 0.01
        assert len(set(values)) == 1000
    stream = RandomStream(7)
    assert [stream.uniform().hex(), stream.normal().hex(), stream.gamma(0.5).hex()] == PINNED


def test_posteriors_by_hand() -> None:
    assert Beta().observe([1.0, 0.25]) == Beta(1.75, 1.25)
    with pytest.raises(ParameterError, match="must lie in"):
        Beta().observe([1.5])
    # y = .5, n = 2: kappa' = 3, nu' = 3, m' = 1/3, tau'^2 = (.1 + .125 + 2 / 3 / 4) / 3
    assert Normal().observe([0.25, 0.75]) == pytest.approx(Normal(1 / 3, 3.0, 3.0, (0.1 + 0.125 + 1 / 6) / 3))
    assert Normal().observe([]) == Normal()


@pytest.mark.parametrize("name", PRIORS)
def test_thompson_prefers_the_better_arm_and_splits_equals(name: str) -> None:
    prior = PRIORS[name]
    good, bad = prior.observe([0.9] * 20), prior.observe([0.1] * 20)
    assert Counter(thompson([bad, good], RandomStream(key)) for key in range(50))[1] >= 48
    even = Counter(thompson([good, good], RandomStream(key)) for key in range(400))
    assert abs(even[0] - 200) < 50
    assert [thompson([good, good], RandomStream(key)) for key in range(9)] == [
        thompson([good, good], RandomStream(key)) for key in range(9)
    ]


@pytest.mark.parametrize("name", PRIORS)
def test_a_node_goes_where_scores_are(name: str) -> None:
    prior = PRIORS[name]
    assert wider_or_deeper([], prior, 1) is None

    def choices(children: list[tuple[float, list[float]]]) -> Counter[int | None]:
        return Counter(wider_or_deeper(children, prior, key) for key in range(60))

    deep = choices([(0.1, [0.1] * 15), (0.1, [0.95] * 15)])
    assert deep[1] > 30
    wide = choices([(0.95, [0.05] * 15)] * 15)
    assert wide[None] > 50


@pytest.mark.parametrize("name", PRIORS)
def test_a_child_is_chosen_by_its_own_score(name: str) -> None:
    """Neither child has been gone down to, and something below a third makes deeper win at times."""
    prior = PRIORS[name]
    children = [(0.05, []), (0.95, []), (0.05, [0.9])]
    found = Counter(wider_or_deeper(children, prior, key) for key in range(600))
    assert found[1] > 2 * found[0]


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("key", range(12))
def test_wider_or_deeper_by_hand(name: str, key: int) -> None:
    """The draws in their order: new, deeper, then each child from its own score and those below it."""
    prior, stream = PRIORS[name], RandomStream(key)
    new, deeper = prior.observe([0.2, 0.7]).draw(stream), prior.observe([0.4, 0.9, 0.6]).draw(stream)
    first, second = prior.observe([0.2, 0.4, 0.9]).draw(stream), prior.observe([0.7, 0.6]).draw(stream)
    expected = None if new >= deeper else int(second > first)
    assert wider_or_deeper([(0.2, [0.4, 0.9]), (0.7, [0.6])], prior, key) == expected


PINNED = ["0x1.8013f3b9e8c0fp-1", "-0x1.0735cb548f29fp+1", "0x1.1c79b7c900801p+0"]
