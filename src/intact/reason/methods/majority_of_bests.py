"""Majority-of-the-bests: a vote weighted by the probability of being the best of a resample."""

from __future__ import annotations

from functools import partial
from typing import Annotated, TypeAlias

from intact.reason import Problem, Score, Steps, method
from intact.reason.aggregate.majority_of_bests import chances_to_be_best
from intact.reason.limits import Samples, ScorerName, within
from intact.reason.parts.composing import composed, vote_by, write
from intact.reason.populations.transformers import reweigh, sample, start

Draws: TypeAlias = Annotated[int, partial(within, 1, 1024)]
"""Resample size; limited because the exact probabilities need more digits as it grows."""


@composed("start sample reweigh vote")
@method(
    "Rakhsha et al. 2025, arXiv 2511.18630",
    version=3,
    group="samples, chosen by a scorer",
    independent=True,
    temperature=0.7,
)
def majority_of_bests(
    problem: Problem, *, n: Samples = 16, scorer: ScorerName = "likelihood", m: Draws | None = None
) -> Steps:
    """Sample n completions, and return the answer that best-of-m would give most often on resamples of them.

    Parameters
    ----------
    m : int
        Size of a resample, at most 1,024; by default the square root of n, rounded down.
    """
    texts = yield from sample(start(problem.start, n), write)
    rewards = yield Score(scorer, texts.values)
    return vote_by(problem, reweigh(texts, chances_to_be_best(rewards, m)), rewards, rewards=rewards)
