"""Majority of the bests."""

from __future__ import annotations

from intact.reason import Extend, Problem, Score, Steps, method
from intact.reason.aggregate import majority_of_bests as formula
from intact.reason.ballot import elected
from intact.reason.limits import at_least


@method("Rakhsha et al. 2025, arXiv 2511.18630", temperature=0.7)
def majority_of_bests(problem: Problem, *, n: int = 16, scorer: str = "likelihood", m: int | None = None) -> Steps:
    """Sample n texts; the answer that best-of-m would most often give on resamples of them.

    Parameters
    ----------
    n : int
        Samples.
    scorer : str
        Who judges.
    m : int
        Samples of a resample; by default the square root of n, rounded down.
    """
    at_least(1, n=n, m=m)
    samples = yield [Extend(problem.start)] * n
    rewards = yield Score(scorer, samples)
    answers = problem.answers(samples)
    return elected(formula.majority_of_bests(answers, rewards, m), answers, samples, rewards, rewards=rewards)
