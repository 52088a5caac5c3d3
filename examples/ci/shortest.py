"""The answer of the shortest text: rambling texts are often wrong."""

from __future__ import annotations

from intact.reason.aggregate.votes import take
from intact.reason.limits import Count
from intact.reason.problem import Problem
from intact.reason.registry import Steps, method
from intact.reason.requests import Extend


@method(paper="an example of how to check a method before a commit", temperature=0.8)
def shortest(problem: Problem, *, n: Count = 4) -> Steps:
    """Sample n texts and return the answer of the shortest one.

    Parameters
    ----------
    n : int
        Texts to sample.
    """
    states = yield [Extend(problem.start) for _ in range(n)]
    return take(problem, min(states, key=lambda state: state.length))
