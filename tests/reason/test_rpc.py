"""RPC against written-out examples: the mixture's threshold, what is pruned, whose texts are the most probable."""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import weibull_min

from intact._base.errors import ParameterError
from intact._base.exact import exp
from intact.reason import Problem, find
from intact.reason.aggregate import mixture as mixtures
from intact.reason.aggregate.mixture import Mixture, Weibull, fit, ordered
from intact.reason.aggregate.rpc import (
    expected_errors,
    inclusion_weight,
    inclusion_weights,
    perplexity_consistency,
    probabilities,
    prune,
    seen_errors,
)
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.testing.toy import MarkovBackend

# Two exponential distributions of means 1 and 1/4: the low one is preferred where 4 exp(-4 x) > exp(-x), below ln(4) /
# 3 = 0.462.
EXPONENTIALS = Mixture(0.5, Weibull(1.0, 1.0), Weibull(1.0, 0.25))


def test_densities_and_means_are_those_of_the_formula() -> None:
    k, scale, x = 1.7, 0.6, 0.35
    density = k / scale * (x / scale) ** (k - 1) * math.exp(-((x / scale) ** k))
    assert math.isclose(Weibull(k, scale).log_density(x), math.log(density))
    assert math.isclose(Weibull(2.0, 3.0).mean, 3 * math.sqrt(math.pi) / 2)
    assert Weibull(100.0, 0.01).log_density(1.0) < -1e100


def test_the_component_of_the_larger_mean_comes_first() -> None:
    low, high = Weibull(1.0, 0.25), Weibull(1.0, 1.0)
    assert ordered(0.3, low, high) == Mixture(0.7, high, low)
    assert ordered(0.3, high, low) == Mixture(0.3, high, low)


def test_the_threshold_between_components_is_where_the_hand_puts_it() -> None:
    edge = math.log(4) / 3
    assert EXPONENTIALS.prefers_low(edge - 1e-9)
    assert not EXPONENTIALS.prefers_low(edge + 1e-9)
    # With w = 1/4 the edge moves to ln(12) / 3 = 0.828.
    assert EXPONENTIALS._replace(w=0.25).prefers_low(math.log(12) / 3 - 1e-9)


def test_what_is_pruned_lies_below_the_edge_and_below_the_mean() -> None:
    probabilities = [0.1, 0.45, 0.47, 0.5, 0.98]  # mean 0.5, edge 0.462
    assert prune(probabilities, lambda _: EXPONENTIALS).kept == (False, False, True, True, True)
    low = [0.1, 0.2, 0.3]  # all below the edge, mean 0.2
    assert prune(low, lambda _: EXPONENTIALS).kept == (False, True, True)


def test_without_a_fit_the_mean_alone_prunes() -> None:
    assert prune([0.1, 0.45, 0.47, 0.5, 0.98], lambda _: None) == ((False, False, False, True, True), None)
    assert prune([0.5, 0.0, 0.5]) == ((True, False, True), None), "a probability of 0 has no density"
    assert prune([0.3, 0.3]) == ((True, True), None)
    assert prune([]) == ((), None)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_something_is_always_kept(probabilities: list[float]) -> None:
    assert any(prune(probabilities, lambda _: EXPONENTIALS).kept)
    assert any(prune(probabilities, lambda _: None).kept)


def test_the_fit_is_a_maximum_and_finds_both_kinds() -> None:
    random = np.random.Generator(np.random.PCG64(1))
    values = [*(0.3 * random.weibull(4.0, 150)), *(0.9 * random.weibull(20.0, 100))]
    found = fit(values)
    assert found is not None
    assert abs(found.high.scale - 0.9) < 0.05
    assert abs(found.low.scale - 0.3) < 0.05
    assert abs(found.w - 0.4) < 0.06

    def likelihood(m: Mixture) -> float:
        parts = ((m.w, m.high), (1 - m.w, m.low))
        return sum(math.log(sum(share * math.exp(part.log_density(x)) for share, part in parts)) for x in values)

    best = likelihood(found)
    assert best >= likelihood(Mixture(0.4, Weibull(20.0, 0.9), Weibull(4.0, 0.3)))
    for factor in (0.97, 1.03):
        high, low = found.high, found.low
        for other in (
            found._replace(w=found.w * factor),
            found._replace(high=Weibull(high.k * factor, high.scale)),
            found._replace(high=Weibull(high.k, high.scale * factor)),
            found._replace(low=Weibull(low.k * factor, low.scale)),
            found._replace(low=Weibull(low.k, low.scale * factor)),
        ):
            assert likelihood(other) < best


def test_the_fit_keeps_its_bounds_and_does_not_know_the_order() -> None:
    values = [0.01 * i for i in range(1, 40)] + [0.95, 0.96]
    found = fit(values)
    assert found is not None
    assert fit(values[::-1]) == found
    assert mixtures.WEIGHTS[0] <= found.w <= mixtures.WEIGHTS[1]
    assert min(*found.high, *found.low) >= mixtures.SMALLEST
    assert found.high.mean >= found.low.mean


def test_equal_texts_count_once_and_pruned_ones_not_at_all() -> None:
    answers = ["a", "a", "a", "b", "b", None]
    texts = ["x", "x", "y", "u", "v", "w"]
    p = [0.25, 0.25, 0.125, 0.25, 0.25, 0.5]
    tally = perplexity_consistency(answers, texts, p)
    assert (tally.answer, dict(tally.weights)) == ("b", {"a": Fraction(3, 8), "b": Fraction(1, 2)})
    kept = [True, True, True, True, False, True]
    assert perplexity_consistency(answers, texts, p, kept).answer == "a"
    assert perplexity_consistency(answers, texts, p, [False] * 6).answer is None
    assert perplexity_consistency(["b", "a"], ["x", "y"], [0.5, 0.5]).answer == "b", "ties go to the first seen"


def test_one_text_cannot_have_two_probabilities() -> None:
    with pytest.raises(ParameterError, match="sample 1 repeats a text with probability"):
        perplexity_consistency(["a", "a"], ["x", "x"], [0.25, 0.5])
    with pytest.raises(ParameterError, match="2 answers, 1 completions"):
        perplexity_consistency(["a", "a"], ["x"], [0.25, 0.5])


def test_long_texts_win_only_by_their_mean() -> None:
    logs, lengths = [-8.0, -4.0], [16, 2]
    assert probabilities(logs, lengths) == pytest.approx([math.exp(-0.5), math.exp(-2)])
    assert probabilities(logs, None) == pytest.approx([math.exp(-4), 1.0])
    assert probabilities([-5000.0, -5001.0], None) == pytest.approx([1.0, math.exp(-1)])
    answers, texts = ["long", "short"], ["x", "y"]
    assert perplexity_consistency(answers, texts, probabilities(logs, lengths)).answer == "long"
    assert perplexity_consistency(answers, texts, probabilities(logs, None)).answer == "short"


def test_rpc_prunes_a_crowd_of_improbable_texts() -> None:
    answers = ["bad"] * 30 + ["good"] * 5
    texts = list(range(35))
    p = [0.05 + 0.001 * i for i in range(30)] + [0.2, 0.21, 0.22, 0.21, 0.2]
    assert perplexity_consistency(answers, texts, p).answer == "bad"
    assert perplexity_consistency(answers, texts, p, prune(p).kept).answer == "good"


@pytest.mark.parametrize("bad", [math.nan, 0.5, -math.inf])
def test_what_is_no_log_probability_is_named(bad: float) -> None:
    with pytest.raises(ParameterError, match="log-probability of sample 1"):
        probabilities([-1.0, bad], None)


def drawn(seed: int, size: int) -> list[float]:
    """Probabilities as models have them: a crowd of improbable texts, and some that are probable."""
    random = np.random.Generator(np.random.PCG64(seed))
    values = np.concatenate([0.5 * random.beta(4, 3, size - size // 3), 0.6 + 0.4 * random.beta(2, 2, size // 3)])
    return [float(one) for one in values]


def log_likelihood(found: Mixture, values: list[float]) -> float:
    parts = ((found.w, found.high), (1 - found.w, found.low))
    return math.fsum(np.logaddexp(*[math.log(share) + part.log_density(x) for share, part in parts]) for x in values)


def fitted_by_scipy(values: list[float]) -> Mixture | None:
    """The authors' fit, written with NumPy and SciPy and without a gradient of ours."""

    def negative(parameters: np.ndarray) -> float:
        w, *shapes = parameters
        logs = [np.log(share) + weibull_min.logpdf(values, k, scale=scale) for share, k, scale in
                ((w, *shapes[:2]), (1 - w, *shapes[2:]))]  # fmt: skip
        return -float(np.logaddexp(*logs).sum())

    bounds = [mixtures.WEIGHTS] + [(mixtures.SMALLEST, None)] * 4
    found = minimize(negative, mixtures.START, method="L-BFGS-B", bounds=bounds)
    w, k1, scale1, k2, scale2 = map(float, found.x)
    return ordered(w, Weibull(k1, scale1), Weibull(k2, scale2)) if found.success else None


@pytest.mark.parametrize("seed", range(20))
def test_the_fit_is_as_good_as_scipys_and_prunes_the_same(seed: int) -> None:
    values = drawn(seed, 12 + 4 * seed)
    theirs, ours = fitted_by_scipy(values), fit(values)
    assert theirs is not None
    assert ours is not None
    assert log_likelihood(ours, values) >= log_likelihood(theirs, values) - 1e-4
    assert prune(values).kept == prune(values, lambda _: theirs).kept


BITS = Mixture(
    0.3748913296155209,
    Weibull(4.4446515176748616, 0.5828410755130983),
    Weibull(1.5631969879973535, 0.23531405653654577),
)


def test_the_fit_has_these_bits() -> None:
    """On every machine; nothing of NumPy, SciPy or the C library has a part in them."""
    values = [(i * i % 31 + 1) / 40 for i in range(24)]
    assert fit(values) == BITS


def test_the_fit_needs_no_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert fit(drawn(1, 20)) is not None


def errors_by_enumeration(chances: list[Fraction], n: int) -> tuple[Fraction, Fraction, Fraction]:
    """The mean squared distance to 1 of three estimates, over all sequences of n texts; what is left is a wrong one."""
    laws = [*chances, 1 - sum(chances)]
    found = [Fraction(0)] * 3
    for drawn in itertools.product(range(len(laws)), repeat=n):
        chance = math.prod((laws[i] for i in drawn), start=Fraction(1))
        right = [i for i in drawn if i < len(chances)]
        estimates = (
            Fraction(len(right), n),
            sum((chances[i] for i in set(right)), Fraction(0)),
            sum((chances[i] / (1 - (1 - chances[i]) ** n) for i in set(right)), Fraction(0)),
        )
        for place, estimate in enumerate(estimates):
            found[place] += chance * (estimate - 1) ** 2
    return found[0], found[1], found[2]


@pytest.mark.parametrize(("chances", "n"), [(["3/10", "1/5"], 4), (["1/2"], 3), (["1/4", "1/4", "1/8"], 3)])
def test_expected_errors_are_those_of_all_draws(chances: list[str], n: int) -> None:
    exact = [Fraction(p) for p in chances]
    found = expected_errors(exact, n)
    assert found.model == (1 - sum(exact)) ** 2
    assert found[1:] == errors_by_enumeration(exact, n)


@pytest.mark.parametrize(("chances", "n"), [(["1/4", "1/8"], 3), (["1/2"], 2), (["1/4", "1/4", "1/8"], 3)])
def test_errors_seen_in_samples_are_the_expected_ones_on_average(chances: list[str], n: int) -> None:
    exact = [Fraction(p) for p in chances]
    laws = [*exact, 1 - sum(exact)]
    means = [0.0] * 4
    for drawn in itertools.product(range(len(laws)), repeat=n):
        chance = float(math.prod((laws[i] for i in drawn), start=Fraction(1)))
        logs = [math.log(laws[i]) for i in drawn]
        found = seen_errors(drawn, logs, [i < len(exact) for i in drawn])
        means = [mean + chance * float(error) for mean, error in zip(means, found, strict=True)]
    assert means == pytest.approx([float(error) for error in expected_errors(exact, n)], abs=1e-12)


def test_the_models_error_needs_two_samples() -> None:
    with pytest.raises(ParameterError, match="at least two samples, got 1"):
        seen_errors(["a"], [-1.0], [True])


def test_at_small_n_consistency_is_worse_than_the_vote_and_its_inclusion_form_better() -> None:
    right = [Fraction(3, 10), Fraction(1, 5)]
    assert [round(float(x), 4) for x in expected_errors(right, 4)] == [0.25, 0.3125, 0.4494, 0.2966]
    assert [round(float(x), 4) for x in expected_errors(right, 16)] == [0.25, 0.2656, 0.2581, 0.2514]
    with pytest.raises(ParameterError, match="n must be at least 1"):
        expected_errors([0.7, 0.5], 4)


def test_inclusion_weights_sum_up_to_the_answers_probability_on_average() -> None:
    chances = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]
    means = [Fraction(0)] * 3
    for drawn in itertools.product(range(3), repeat=3):
        chance = math.prod((chances[i] for i in drawn), start=Fraction(1))
        weights = inclusion_weights(drawn, [math.log(chances[i]) for i in drawn])
        for i, weight in zip(drawn, weights, strict=True):
            means[i] += chance * weight
    assert [float(mean) for mean in means] == pytest.approx([0.5, 0.25, 0.25])


def test_texts_of_tiny_probability_weigh_as_in_the_vote() -> None:
    assert inclusion_weights("abcb", [-2000.0, -700.0, -60.0, -700.0]) == [Fraction(1, 4)] * 2 + [
        inclusion_weight(Fraction(exp(-60.0)), 4),
        0,
    ]
    assert float(inclusion_weight(Fraction(exp(-40.0)), 4)) == pytest.approx(0.25)
    with pytest.raises(ParameterError, match="the log-probability of sample 1 must be finite and at most 0"):
        inclusion_weights("ab", [-1.0, 0.5])


def test_rpc_weighs_by_inclusion_where_it_is_told_to() -> None:
    """Three texts of one letter; what the method votes by, from its samples."""
    problem = Problem("p", "ask", read=lambda text: text or None)
    job = MethodJob(find("rpc"), problem, {"n": 5, "form": "inclusion"})
    ((_, result),) = Driver({"toy": MarkovBackend()}, sampling={"max_tokens": 1, "temperature": 1.0}).solve([job])
    chances = {letter: float(chance) for letter, chance in MarkovBackend().distribution("").items()}
    texts = [node["text"] for node in result.trace["nodes"]]
    kept = prune([chances[text] for text in texts]).kept
    expected = {
        text: stays * chances[text] / (1 - (1 - chances[text]) ** 5) for text, stays in zip(texts, kept, strict=True)
    }
    assert dict(result.answer.votes) == pytest.approx(expected, rel=1e-6)
    assert len(set(texts)) > 1


def test_where_only_texts_without_an_answer_are_kept_the_others_vote_alike() -> None:
    problems = [Problem(f"p{i}", "ask", read=lambda text: text if text != "z" else None) for i in range(12)]
    driver = Driver({"toy": MarkovBackend({"": {"z": 18, "a": 1, "b": 1}})}, sampling={"max_tokens": 1})
    lone = 0
    for _, result in driver.solve([MethodJob(find("rpc"), problem, {"n": 8}) for problem in problems]):
        texts = [node["text"] for node in result.trace["nodes"]]
        answers = [text for text in texts if text != "z"]
        assert (result.answer.answer is None) == (not answers)
        if answers and "z" in texts:
            lone += 1
            assert dict(result.answer.votes) == Counter(answers)
    assert lone > 2
