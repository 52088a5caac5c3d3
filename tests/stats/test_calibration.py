"""Figures on how far scores can be trusted, against their definitions and a published log."""

import itertools
import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.stats.calibration import (
    Bin,
    auroc,
    bins_from_the_top,
    brier,
    calibration_error,
    choice,
    log_loss,
    murphy,
    reliability,
    selective,
    selective_accuracy,
)
from intact.stats.intervals import wilson

FAR = Bin(2, 2, 0, 2, 0)
judged = st.lists(st.tuples(st.integers(0, 8).map(lambda n: n / 8), st.booleans()), min_size=1, max_size=30)


@given(judged)
def test_auroc_is_the_share_of_pairs_in_right_order(pairs):
    good = [score for score, flag in pairs if flag]
    bad = [score for score, flag in pairs if not flag]
    wins = [(a > b) + (a == b) / 2 for a in good for b in bad]
    expected = sum(wins) / len(wins) if wins else None
    assert auroc(*zip(*pairs, strict=True)) == (None if expected is None else pytest.approx(expected))


@given(judged)
def test_only_the_order_matters_to_auroc(pairs):
    scores, right = zip(*pairs, strict=True)
    assert auroc(scores, right) == auroc([math.exp(3 * score) for score in scores], right)


@given(judged)
def test_bins_hold_everything_once(pairs):
    confidences, right = zip(*pairs, strict=True)
    bins = reliability(confidences, right, 4)
    assert sum(held.texts for held in bins) == len(pairs)
    assert all(held.low <= held.confidence <= held.high for held in bins)
    assert 0 <= calibration_error(confidences, right, 4) <= 1


@given(judged, st.integers(1, 6))
def test_adaptive_bins_hold_everything_once_and_equals_together(pairs, number):
    confidences, right = zip(*pairs, strict=True)
    bins = reliability(confidences, right, number, adaptive=True)
    assert sum(held.texts for held in bins) == len(pairs)
    assert len(bins) <= number
    assert all(one.low <= one.confidence <= one.high < other.low for one, other in itertools.pairwise([*bins, FAR]))
    if len(set(confidences)) == len(pairs):
        assert all(held.texts in (len(pairs) // number, -(-len(pairs) // number)) for held in bins)
    assert 0 <= calibration_error(confidences, right, number, adaptive=True) <= 1


@given(judged, st.integers(1, 8), st.booleans())
def test_murphys_parts_sum_up_to_the_score(pairs, number, adaptive):
    confidences, right = zip(*pairs, strict=True)
    parts = murphy(confidences, right, number, adaptive)
    assert parts.reliability - parts.resolution + parts.uncertainty + parts.within == pytest.approx(
        brier(confidences, right)
    )
    assert min(parts[:3]) >= 0
    if len(reliability(confidences, right, number)) == len(set(confidences)) and not adaptive:
        assert parts.within == pytest.approx(0, abs=1e-12)


def test_murphys_parts_by_hand():
    # of three texts at 0.75 two are right, of one at 0.25 none
    parts = murphy([0.75, 0.75, 0.75, 0.25], [True, True, False, False], 2)
    assert parts == pytest.approx((3 / 4 / 144 + 1 / 64, 3 / 4 / 36 + 1 / 16, 1 / 4, 0))


@given(judged)
def test_risk_is_the_mean_over_orders_of_equals(pairs):
    scores, right = zip(*pairs, strict=True)
    found = selective(scores, right)
    for answered, risk in enumerate(found.risk, 1):
        least = sorted(scores, reverse=True)[answered - 1]
        above = [flag for score, flag in pairs if score > least]
        level = [flag for score, flag in pairs if score == least]
        wrong = above.count(False) + (answered - len(above)) * level.count(False) / len(level)
        assert risk == pytest.approx(wrong / answered)
    assert found.coverage[-1] == 1
    assert found.aurc == pytest.approx(sum(found.risk) / len(pairs))
    assert found.excess >= 0


def test_selective_by_hand():
    found = selective([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
    assert found.risk == [0, 1 / 2, pytest.approx(1 / 3), 1 / 2]
    assert found.excess == pytest.approx(found.aurc - (0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert selective([3, 2, 1], [True, True, False]).excess == 0
    assert selective_accuracy([0.9, 0.8, 0.7, 0.6], [True, False, True, False], 0.25) == 1
    # a tenth of thirty is three
    assert selective_accuracy(range(30), [i > 26 for i in range(30)], 0.1) == 1
    # the number of texts is rounded up: 0.3 of four are two, 0.6 three
    assert selective_accuracy([0.9, 0.8, 0.7, 0.6], [True, False, True, False], 0.3) == 1 / 2
    assert selective_accuracy([0.9, 0.8, 0.7, 0.6], [True, False, True, False], 0.6) == pytest.approx(2 / 3)
    assert selective_accuracy([0.9, 0.8, 0.7, 0.6], [True, False, True, False], 0.000001) == 1
    with pytest.raises(ParameterError, match="coverage must lie in"):
        selective_accuracy([1], [True], 0)


def test_values_are_those_of_the_definitions():
    confidences, right = [0.9, 0.9, 0.2, 1.0], [True, False, False, True]
    assert brier(confidences, right) == pytest.approx((0.01 + 0.81 + 0.04 + 0) / 4)
    assert log_loss([0.5, 0.25], [True, False]) == pytest.approx((math.log(2) - math.log(0.75)) / 2)
    assert log_loss([0.0], [True]) == pytest.approx(-math.log(1e-6))
    assert calibration_error(confidences, right, 10) == pytest.approx((3 * abs(2.8 / 3 - 2 / 3) + 0.2) / 4)


def test_honest_confidences_have_no_error_and_boasts_have_one():
    honest = [0.75] * 4
    assert calibration_error(honest, [True, True, True, False]) == pytest.approx(0)
    assert calibration_error([1.0] * 4, [False] * 4) == 1
    assert auroc([1, 1], [True, True]) is None


def test_choice_splits_ties():
    assert choice([[1, 1, 0], [0, 2, 1]], [[True, False, True], [False, False, True]]) == (0.25, 0.5, 1.0)


def test_the_reward_model_of_a_published_log_chooses_as_recorded(data_dir):
    lines = (data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    scores = [[value for (value,) in row["pred_score"]] for row in rows]
    right = [row["score"] for row in rows]
    assert choice(scores, right) == (pytest.approx(0.94), pytest.approx(0.91), pytest.approx(0.96))
    separated = auroc([value for row in scores for value in row], [flag for row in right for flag in row])
    assert separated == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize(("scores", "right"), [([], []), ([1.0], [True, False]), ([float("nan")], [True])])
def test_what_makes_no_sense_is_refused(scores, right):
    with pytest.raises(ParameterError):
        auroc(scores, right)
    with pytest.raises(ParameterError, match="in \\[0, 1\\]"):
        brier([1.5], [True])
    with pytest.raises(ParameterError, match="bins must be at least 1"):
        reliability([0.5], [True], 0)
    with pytest.raises(ParameterError, match="at least one problem"):
        choice([], [])


def test_bins_have_one_width_unless_they_are_to_be_adaptive():
    confidences, right = [0.11, 0.12, 0.13, 0.9], [True, False, False, True]
    plain = calibration_error(confidences, right, 2, adaptive=False)
    assert calibration_error(confidences, right, 2) == plain
    assert calibration_error(confidences, right, 2, adaptive=True) != plain
    assert [found.low for found in reliability([i / 20 for i in range(20)], [True] * 20)] == [i / 10 for i in range(10)]


@given(judged, st.integers(1, 6))
def test_bins_from_the_top_hold_enough_and_part_no_ties(pairs, least):
    confidences, right = zip(*pairs, strict=True)
    bins = bins_from_the_top(confidences, right, least)
    assert sum(held.texts for held in bins) == len(pairs)
    assert all(held.texts >= min(least, len(pairs)) for held in bins)
    assert all(above.low > below.high for above, below in itertools.pairwise(bins))
    for held in bins:
        own = [flag for confidence, flag in pairs if held.low <= confidence <= held.high]
        assert (held.texts, held.right) == (len(own), sum(own) / len(own))


def test_bins_from_the_top_by_hand():
    confidences = [1.0] * 3 + [0.5] * 2 + [0.25]
    right = [True, True, False, True, False, False]
    assert bins_from_the_top(confidences, right, 2) == [Bin(1, 1, 3, 1, 2 / 3), Bin(0.25, 0.5, 3, 1.25 / 3, 1 / 3)]
    with pytest.raises(ParameterError, match="must be at least 1, got 0"):
        bins_from_the_top(confidences, right, 0)


@pytest.mark.parametrize("problems", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_the_interval_of_a_bin_holds_the_chance_of_a_new_text_as_often_as_it_says(problems):
    """Eight votes a problem, whose chance of a right answer is one of five; the truth is summed over binomial laws."""
    chances, rng, votes = (0.1, 0.3, 0.5, 0.7, 0.95), random.Random(0), range(9)
    law = {k: [math.comb(8, k) * p**k * (1 - p) ** (8 - k) for p in chances] for k in votes}

    def truth(low, high):
        """Return the chance of an answer with a share of votes of low or more, and less than high."""
        held = [law[k] for k in votes if low <= k / 8 < high]
        return sum(w * p for own in held for w, p in zip(own, chances, strict=True)) / sum(map(sum, held))

    def draw():
        p = rng.choice(chances)
        return sum(rng.random() < p for _ in range(8)) / 8, rng.random() < p

    hits = 0
    for _ in range(2000):
        bins = bins_from_the_top(*zip(*[draw() for _ in range(problems)], strict=True))
        new, _ = draw()
        place = next((i for i, held in enumerate(bins) if held.low <= new), len(bins) - 1)
        held = bins[place]
        bounds = (held.low if place < len(bins) - 1 else 0, bins[place - 1].low if place else 2)
        low, high = wilson(round(held.right * held.texts), held.texts, 0.9)
        hits += low <= truth(*bounds) <= high
    assert abs(hits / 2000 - 0.9) < 0.02
