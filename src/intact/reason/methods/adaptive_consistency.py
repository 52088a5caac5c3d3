"""Adaptive consistency: self-consistency that stops sampling once the leader is clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

from intact._base.exact import written
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.stopping import confident, decided, leaders, survival_probability
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Count, Share, one_of

Rule = Callable[[Sequence[str | None], int, float], bool]

RULES: dict[str, Rule] = {
    "beta": lambda answers, left, threshold: confident(answers, threshold),
    "survival": lambda answers, left, threshold: (
        survival_probability(*leaders(answers), left) >= written(threshold, "a threshold")
    ),
    "certain": lambda answers, left, threshold: decided(answers, left),
}


@method("Aggarwal et al. 2023, arXiv 2305.11860", group="samples and a vote", temperature=0.7)
def adaptive_consistency(
    problem: Problem,
    *,
    n: Count = 40,
    threshold: Share = 0.95,
    rule: Annotated[str, partial(one_of, RULES)] = "beta",
    batch: Count = 1,
) -> Steps:
    """Sample until the leading answer is unlikely to lose its lead, then return the majority answer.

    Parameters
    ----------
    n : int
        Maximum number of samples.
    threshold : float
        Probability at or above which sampling stops.
    rule : str
        Stopping rule: beta, the probability that the leader is the likelier answer; survival, the probability that it
        still leads after all n samples; certain, no probability: sampling stops when no other answer can catch up.
    batch : int
        Number of samples drawn in parallel between checks; the paper draws one at a time.
    """
    samples: list[State] = []
    answers: list[str | None] = []
    while len(samples) < n:
        drawn = yield [Extend(problem.start)] * min(batch, n - len(samples))
        samples += drawn
        answers += problem.answers(drawn)
        if any(answer is not None for answer in answers) and RULES[rule](answers, n - len(samples), threshold):
            break
    return elected(vote(answers), answers, samples, samples=len(samples))
