"""Mixtures of experts in integers, against floats and by hand (docs/spec/numerics.md, section 8)."""

from fractions import Fraction
from typing import get_args

import numpy as np
import pytest

from intact.numerics.experts import ExpertWeights, best, choose, scaled, weight_factor

ONE = 1 << 16


def test_equal_scores_go_to_the_least_number():
    scores = np.array([[5, 9, 9, 1, 9], [7, 7, 7, 7, 7]])
    assert best(scores, 2).tolist() == [[1, 2], [0, 1]]
    assert best(scores, 4).tolist() == [[0, 1, 2, 4], [0, 1, 2, 3]]


@pytest.mark.parametrize("kind", get_args(ExpertWeights))
def test_weights_are_those_of_floats(kind):
    scores = (np.random.default_rng(0).normal(0, 3, (50, 16)) * ONE).astype(np.int64)
    experts, weights = choose(scores, 4, kind, weight_factor(Fraction(5, 2)))
    x = scores / ONE
    order = np.sort(np.argsort(-x, axis=1, kind="stable")[:, :4], axis=1)
    assert np.array_equal(experts, order)
    chosen = np.take_along_axis(x, order, axis=1)
    if kind.startswith("sigmoid"):
        expected = 1 / (1 + np.exp(-chosen))
        if kind == "sigmoid of chosen":
            expected /= expected.sum(axis=1, keepdims=True)
    else:
        over = x if kind == "softmax" else chosen
        expected = np.exp(chosen) / np.exp(over).sum(axis=1, keepdims=True)
    assert np.abs(weights / (1 << 18) - 2.5 * expected).max() < 2e-5


def test_biases_decide_which_are_chosen_and_not_their_weights():
    scores = np.array([[0, ONE, -ONE, 0]])
    bias = np.array([0.0, -0.3, 0.3, 0.0])
    experts, weights = choose(scores, 2, "sigmoid of chosen", 1 << 18, (bias * (1 << 30)).astype(np.int64))
    assert experts.tolist() == [[0, 2]]  # 0.5, 0.43, 0.57, 0.5: of equals the least number
    shares = 1 / (1 + np.exp(-np.array([0.0, -1.0])))
    assert np.abs(weights[0] / (1 << 18) - shares / shares.sum()).max() < 1e-5


def test_biases_are_added_to_the_shares_of_a_softmax() -> None:
    scores = np.array([[0, ONE, -ONE, 0]])
    shares = np.exp([0.0, 1.0, -1.0, 0.0])
    shares /= shares.sum()  # 0.2, 0.53, 0.07, 0.2: sigmoids and these biases would choose 1 and 3
    bias = np.array([0.0, -0.4, 0.2, 0.0])
    assert np.argsort(-(shares + bias))[:2].tolist() == [2, 0]
    experts, weights = choose(scores, 2, "softmax of chosen", 1 << 18, (bias * (1 << 30)).astype(np.int64))
    assert experts.tolist() == [[0, 2]]
    assert np.abs(weights[0] / (1 << 18) - shares[[0, 2]] / shares[[0, 2]].sum()).max() < 1e-5


def test_scales_multiply_the_weights_of_their_experts() -> None:
    scores = np.array([[0, ONE, -ONE, 0]])
    scales = (np.array([0.5, 63.0, 1.0, -2.0]) * (1 << 24)).astype(np.int64)
    plain = choose(scores, 4, "softmax", 1 << 18)
    experts, weights = choose(scores, 4, "softmax", 1 << 18, scales=scales)
    assert experts.tolist() == plain.experts.tolist() == [[0, 1, 2, 3]]
    expected = plain.weights[0] * [0.5, 63.0, 1.0, -2.0]
    assert weights[0, 1] == (1 << 20) - 1 < expected[1]  # a result times the weight still fits 62 bits
    assert np.abs(weights[0, [0, 2, 3]] - expected[[0, 2, 3]]).max() <= 0.5


def test_weights_of_experts_that_all_have_sigmoids_of_0():
    scores = np.full((1, 3), -(1 << 31) + 1)
    assert choose(scores, 2, "sigmoid of chosen", 1 << 18).weights.tolist() == [[0, 0]]


def test_a_row_does_not_see_its_neighbours():
    scores = np.random.default_rng(1).integers(-(1 << 31), 1 << 31, (64, 9))
    whole = choose(scores, 3, "softmax of chosen", 1 << 18)
    for i in (0, 17, 63):
        alone = choose(scores[i : i + 1], 3, "softmax of chosen", 1 << 18)
        assert np.array_equal(whole.experts[i], alone.experts[0])
        assert np.array_equal(whole.weights[i], alone.weights[0])


def test_weights_at_the_ends_of_the_range():
    scores = np.array([[(1 << 31) - 1, -(1 << 31) + 1, 0]])
    assert choose(scores, 2, "softmax of chosen", (1 << 20) - 1).weights.tolist() == [[(1 << 20) - 1, 0]]
    assert choose(scores, 3, "sigmoid", 1 << 18).weights.tolist() == [[1 << 18, 0, 1 << 17]]


def test_results_are_clipped_before_they_are_scaled():
    y = np.array([[1 << 60, -(1 << 60), 3, -3]])
    assert scaled(y, np.array([(1 << 20) - 1])).tolist() == [
        [((1 << 42) * ((1 << 20) - 1) + (1 << 17)) >> 18, (-(1 << 42) * ((1 << 20) - 1) + (1 << 17)) >> 18, 12, -12]
    ]
