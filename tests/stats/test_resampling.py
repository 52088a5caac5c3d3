"""Limits of resampling with a checker: a published log, simulated truth, bad input."""

import json

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.laws.resampling import resampling_limits
from intact.stats.laws.verifier import Verifier, best_attempts, ceiling

KNOWN = {
    0: (0.982, 0.611, 0.962, 0.928, 0.938, 0.928),
    1: (0.945, 0.819, 0.981, 0.940, 0.953, 0.886),
    2: (0.857, 0.958, 0.995, 0.953, 0.976, 0.820),
    3: (0.654, 0.986, 0.998, 0.957, 0.986, 0.680),
}
"""By the threshold of the reward, as computed once by hand from the log."""


@pytest.mark.parametrize("threshold", KNOWN)
def test_limits_of_a_published_log(data_dir, threshold):
    path = data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl"
    if not path.exists():
        pytest.skip(f"needs {path}")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    right = np.array([row["score"] for row in rows], float)
    rewards = np.array([[one[-1] if isinstance(one, list) else one for one in row["pred_score"]] for row in rows])
    accepted = rewards >= threshold
    counts = np.full(100, 8), right.sum(1), (accepted * right).sum(1), (accepted * (1 - right)).sum(1)
    found = resampling_limits(*counts, resamples=20)
    figures = found.completeness.estimate, found.soundness.estimate, found.precision, found.ceiling.estimate
    of_all = found.answered * found.right_of_answered
    assert [*figures, found.right_of_answered, of_all] == pytest.approx(KNOWN[threshold], abs=6e-4)


def judged(rng, rates, samples, checker):
    """Counts of samples of problems with known rates, judged by a checker of known quality."""
    right = rng.binomial(samples, rates)
    return (
        np.full(len(rates), samples), right, rng.binomial(right, checker.completeness),
        rng.binomial(samples - right, 1 - checker.soundness),
    )  # fmt: skip


@pytest.mark.parametrize("runs", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_known_checkers_and_ceilings_are_found_with_their_intervals(runs):
    """Simulated runs have 60 problems with 64 samples; the truth is that of endless problems."""
    checker = Verifier(0.9, 0.8)
    true = ceiling(np.random.default_rng(0).beta(2, 2, 100_000), verifier=checker)
    held = np.zeros(3)
    for seed in range(runs):
        rng = np.random.default_rng(seed + 1)
        found = resampling_limits(*judged(rng, rng.beta(2, 2, 60), 64, checker), [-1], resamples=200)
        for i, (interval, truth) in enumerate(
            [(found.completeness, 0.9), (found.soundness, 0.8), (found.ceiling, true)]
        ):
            held[i] += interval.low <= truth <= interval.high
    assert (held >= 0.95 * runs - 3 * (runs * 0.95 * 0.05) ** 0.5).all()


def test_the_best_number_of_attempts_is_that_of_the_known_rates():
    checker = Verifier(1.0, 0.75)
    rates = np.repeat([0.87, 0.13], [290, 210])
    found = resampling_limits(*judged(np.random.default_rng(3), rates, 400, checker), [-0.7, -1, -2], resamples=6)
    for one, attempts in zip(found.best, (3, 2, 1), strict=True):
        assert one.attempts == attempts == best_attempts(rates, verifier=checker, fluke=one.fluke).attempts
        assert one.low <= attempts <= one.high
        assert one.value == pytest.approx({-0.7: 0.5246, -1: 0.4724, -2: 0.3388}[one.fluke], abs=0.01)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (([4, 4], [1, 2], [2, 0], [0, 0]), "cannot be more accepted samples than samples"),
        (([4, 4], [1, 2, 3], [1, 0], [0, 0]), "four counts"),
        (([4, 4], [0, 2], [0, 1], [0, 0]), "needs at least two of them"),
    ],
)
def test_bad_counts_are_named(counts, message):
    with pytest.raises(ParameterError, match=message):
        resampling_limits(*counts)
