"""Rounds of revision as a chain: against counting states, TTSPM without spoilt answers, and known truth."""

import math

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.laws.revision import RevisionChain, sequential_saturation
from intact.stats.laws.saturation import Saturation


def test_accuracy_is_that_of_the_chain_s_matrix():
    chain = RevisionChain(0.4, 0.3, 0.1)
    state = np.array([0.4, 0.6])
    for rounds in range(12):
        assert chain.accuracy(rounds) == pytest.approx(state[0])
        state = state @ [[0.9, 0.1], [0.3, 0.7]]
    assert chain.limit == pytest.approx(0.75)
    assert chain.accuracy(1_000) == pytest.approx(0.75)


@pytest.mark.parametrize("chain", [RevisionChain(0.4, 0.3, 0.1), RevisionChain(0.0, 0.16, 0.0)])
def test_the_point_is_the_first_round_that_gains_no_more(chain):
    gains = np.diff(chain.accuracy(np.arange(200)))
    assert chain.point(0.001) == int(np.flatnonzero(gains <= 0.001)[0])


def test_without_spoilt_answers_it_is_the_paper_s_law():
    assert RevisionChain(0, 0.3, 0).point(0.01) == Saturation(1, 0.3).point(0.01) == math.ceil(
        math.log(0.01 / 0.3) / math.log(0.7)
    )  # fmt: skip


def test_rounds_that_lose_or_change_nothing_or_all_have_a_point():
    assert RevisionChain(0.9, 0.1, 0.4).point() == 0
    assert RevisionChain(0.4, 0.0, 0.0).limit == 0.4
    assert RevisionChain(0.4, 0.0, 0.0).point() == 0
    assert RevisionChain(0.2, 0.9, 0.3).point() == 1


def drawn(rng, first, mended, spoilt, problems, rounds):
    """Return one draft of each problem."""
    right = rng.random(problems) < first
    states = [right]
    for _ in range(rounds):
        right = np.where(right, rng.random(problems) >= spoilt, rng.random(problems) < mended)
        states.append(right)
    return [[one] for one in np.array(states).T.tolist()]


@pytest.mark.parametrize("runs", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_intervals_hold_the_truth(runs):
    true = RevisionChain(0.4, 0.3, 0.1)
    gain = float(true.accuracy(8) - true.accuracy(4))
    seen = float(true.accuracy(4) - true.accuracy(2))
    held = np.zeros(4)
    for seed in range(runs):
        found = sequential_saturation(drawn(np.random.default_rng(seed), 0.4, 0.3, 0.1, 100, 4), resamples=200)
        truths = (found.limit, 0.75), (found.point, true.point()), (found.last_doubling, seen)
        pairs = (*truths, (found.next_doubling, gain))
        held += [one.low <= truth <= one.high for one, truth in pairs]
    assert found.most == 4
    assert (held >= 0.95 * runs - 3 * (runs * 0.95 * 0.05) ** 0.5).all()


def test_figures_of_a_hand_made_run():
    """Two drafts: wrong, right, right and right, wrong; the second keeps its last answer."""
    found = sequential_saturation([[[False, True, True]], [[True, False]]] * 5)
    assert found.chain == RevisionChain(0.5, 1.0, 0.5)
    assert found.limit.estimate == pytest.approx(2 / 3)
    assert (found.most, found.last_doubling.estimate) == (2, 0)


@pytest.mark.parametrize(
    ("drafts", "message"),
    [
        ([[[True, False]]], "at least two problems"),
        ([[[True]], []], "at least two problems"),
        ([[[True, True]], [[True, True]]], "all from right answers"),
    ],
)
def test_drafts_without_a_chain_are_named(drafts, message):
    with pytest.raises(ParameterError, match=message):
        sequential_saturation(drafts)
