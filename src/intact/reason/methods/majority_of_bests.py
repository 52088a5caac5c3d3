"""Majority of the bests."""

from __future__ import annotations

from functools import partial
from typing import Annotated, TypeAlias

from intact.reason import Extend, Problem, Score, Steps, method
from intact.reason.aggregate import majority_of_bests as formula
from intact.reason.aggregate.votes import elected
from intact.reason.limits import Count, ScorerName, within

Draws: TypeAlias = Annotated[int, partial(within, 1, 1024)]
"""Chances are exact: so many digits have they."""


@method(
    "Rakhsha et al. 2025, arXiv 2511.18630",
    version=2,
    group="samples, chosen by a scorer",
    independent=True,
    temperature=0.7,
)
def majority_of_bests(
    problem: Problem, *, n: Count = 16, scorer: ScorerName = "likelihood", m: Draws | None = None
) -> Steps:
    """Sample n texts; the answer that best-of-m would most often give on resamples of them.

    Parameters
    ----------
    n : int
        Samples.
    scorer : str
        Who judges.
    m : int
        Samples of a resample, to 1,024; by default the square root of n, rounded down.
    """
    samples = yield [Extend(problem.start)] * n
    rewards = yield Score(scorer, samples)
    answers = problem.answers(samples)
    return elected(formula.majority_of_bests(answers, rewards, m), answers, samples, rewards, rewards=rewards)
