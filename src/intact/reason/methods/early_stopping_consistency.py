"""Early-stopping self-consistency: stop sampling at the first unanimous window."""

from __future__ import annotations

from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.stopping import unanimous
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Count


@method("Li et al. 2024, arXiv 2401.10480", group="samples and a vote", temperature=0.7)
def early_stopping_consistency(problem: Problem, *, n: Count = 40, window: Count = 5) -> Steps:
    """Sample in windows until one window is unanimous, then return the majority answer of all samples.

    Parameters
    ----------
    n : int
        Maximum number of samples.
    window : int
        Number of samples that are drawn in parallel and must agree.
    """
    samples: list[State] = []
    answers: list[str | None] = []
    while len(samples) < n and not unanimous(answers, window):
        drawn = yield [Extend(problem.start)] * min(window, n - len(samples))
        samples += drawn
        answers += problem.answers(drawn)
    return elected(vote(answers), answers, samples, samples=len(samples))
