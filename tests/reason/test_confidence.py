"""Confidence of tokens, groups and texts, and DeepConf's use of it, against plain definitions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.reason.aggregate import confidence, deepconf

UNIT = 1 << 24
CONFIDENCES = st.lists(st.integers(0, 40 * UNIT).map(lambda x: x / UNIT), max_size=40)


def test_a_peaked_distribution_is_confident() -> None:
    flat, peaked = [math.log(0.25)] * 4, [math.log(0.97)] + [math.log(0.01)] * 3
    low, high = confidence.token_confidences([flat, peaked])
    assert abs(low - math.log(4)) < 1e-7
    assert abs(high - (-math.log(0.97) - 3 * math.log(0.01)) / 4) < 1e-7
    assert confidence.token_confidences([[-1.0], [-1.0, -3.0]]) == [1.0, 2.0]
    for bad in ([[]], [[math.nan]], [[-math.inf]]):
        with pytest.raises(ParameterError):
            confidence.token_confidences(bad)


@given(CONFIDENCES, st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_groups_are_exact_means_of_windows(values: list[float], window: int, share: float) -> None:
    exact = [Fraction(value) for value in values]
    size = min(window, len(values))
    groups = [sum(exact[i : i + size]) / size for i in range(len(values) - size + 1)] if values else []
    assert confidence.group_confidences(values, window) == [float(group) for group in groups]
    lowest = sorted(groups)[: max(1, int(len(groups) * share))]
    expected = sum(lowest) / len(lowest) if lowest else 0
    assert abs(confidence.bottom_confidence(values, window, share) - expected) < 2 / UNIT
    assert confidence.mean_confidence(values) == (float(sum(exact) / len(exact)) if exact else 0.0)
    tail = exact[-window:]
    assert confidence.tail_confidence(values, window) == (float(sum(tail) / len(tail)) if tail else 0.0)


def test_a_tail_has_2048_tokens_by_default() -> None:
    assert confidence.tail_confidence([9.0] * 100 + [1.0] * 2048) == 1.0
    assert confidence.tail_confidence([9.0] * 100 + [2049.0] + [1.0] * 2047) == 2.0


def test_self_certainty_is_the_divergence_from_uniform() -> None:
    p = np.array([[0.7, 0.2, 0.05, 0.05], [0.25, 0.25, 0.25, 0.25]])
    expected = -np.log(4 * p).mean()
    assert abs(confidence.self_certainty(np.log(p).tolist(), 4) - expected) < 1e-6
    assert abs(confidence.self_certainty(np.log(p[1:]).tolist(), 4)) < 1e-6
    assert confidence.self_certainty([], 4) == 0.0
    with pytest.raises(ParameterError, match="5 log-probabilities, but the vocabulary has 4"):
        confidence.self_certainty([[-1.0] * 5], 4)


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=9), st.integers(1, 3))
def test_self_certainty_of_the_top_is_a_lower_bound(raw: list[float], k: int) -> None:
    p = sorted((x / sum(raw) for x in raw), reverse=True)
    whole = confidence.self_certainty([[math.log(x) for x in p]], len(p))
    top = confidence.self_certainty([[math.log(x) for x in p[:k]]], len(p))
    assert top <= whole + 1e-5
    if k < len(p):
        even = p[:k] + [(1 - sum(p[:k])) / (len(p) - k)] * (len(p) - k)
        assert abs(top - confidence.self_certainty([[math.log(x) for x in even]], len(p))) < 1e-5


@given(st.lists(st.floats(0, 50), min_size=1, max_size=30), st.integers(0, 100))
def test_percentiles_are_those_of_numpy(values: list[float], percent: int) -> None:
    assert math.isclose(deepconf.percentile(values, percent), np.percentile(values, percent), abs_tol=1e-12)
    with pytest.raises(ParameterError, match="percentile must lie in"):
        deepconf.percentile(values, 101)
    with pytest.raises(ParameterError, match="needs at least one value"):
        deepconf.percentile([], 50)


def test_only_the_confident_vote() -> None:
    answers = ["a"] * 8 + ["b", None]
    confidences = [1.0] * 8 + [5.0, 99.0]
    assert deepconf.confident_vote(answers, confidences, 100).answer == "a"
    assert deepconf.confident_vote(answers, confidences, 10).answer == "b"
    assert dict(deepconf.confident_vote(answers, confidences, 10).weights) == {"a": 0, "b": 5}
    # The 10th percentile of eight 1s and a 5 is 1: all stay, and weigh what they are worth.
    assert dict(deepconf.confident_vote(answers, confidences, 90).weights) == {"a": 8, "b": 5}
    assert deepconf.confident_vote([None], [1.0]).answer is None


def test_the_bar_of_the_authors_settings() -> None:
    lowest = [float(i) for i in range(16)]
    assert deepconf.bar(lowest, 10) == 13.5
    assert deepconf.bar(lowest, 90) == 1.5


@given(CONFIDENCES, st.integers(1, 8), st.floats(0, 40))
def test_a_sample_stops_where_a_watcher_would_stop_it(values: list[float], window: int, least: float) -> None:
    watched = None
    for written in range(1, len(values) + 1):
        last = [Fraction(value) for value in values[max(0, written - window) : written]]
        if written >= window and float(sum(last) / window) < least:
            watched = written
            break
    assert deepconf.stopping_place(values, window, least) == watched
    if watched is not None:
        assert deepconf.stopping_place(values[:watched], window, least) == watched, "the future is not looked at"


def test_consensus_is_the_winners_share() -> None:
    tally = deepconf.vote(["a"] * 19 + ["b"])
    assert deepconf.agreed(tally)
    assert not deepconf.agreed(deepconf.vote(["a"] * 18 + ["b"]))
    assert not deepconf.agreed(deepconf.vote([None]))
