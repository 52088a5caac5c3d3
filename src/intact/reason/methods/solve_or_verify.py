"""Solve or verify: a scaling law splits a budget between solutions and verifications."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from intact._base.exact import power
from intact.reason import Answer, CallMethod, Problem, Steps, method
from intact.reason.limits import Count, ModelName, Natural, Positive, Share


class BudgetSplit(NamedTuple):
    """Numbers of solutions and of verifications per solution."""

    solutions: int
    checks: int


def split(budget: int, ratio: float, exponent: float) -> BudgetSplit:
    """Split a budget into `S = budget^exponent` solutions, rounded, and V checks each, so that `S (1 + ratio V)` fits.

    If that leaves less than one check per solution, the whole budget is spent on solutions.

    Parameters
    ----------
    budget : int
        The total budget, in units of one solution.
    ratio : float
        Tokens per verification divided by tokens per solution.
    exponent : float
        Exponent in the law for the number of solutions.
    """
    solutions = min(budget, int(power(budget, exponent) + 0.5))
    checks = int((budget / solutions - 1) / ratio)
    return BudgetSplit(solutions, checks) if checks else BudgetSplit(budget, 0)


@method("Singhi et al. 2025, arXiv 2504.01005", group="samples, chosen by a scorer", temperature=0.7)
def solve_or_verify(
    problem: Problem,
    *,
    budget: Count = 64,
    ratio: Positive = 1.0,
    exponent: Share = 0.57,
    crossover: Natural = 0,
    verifier: ModelName = "",
) -> Steps:
    """Split a budget between solutions and written verifications of them, and choose by verdict, or only vote.

    Parameters
    ----------
    budget : int
        The total budget, in units of one solution.
    ratio : float
        Tokens per verification divided by tokens per solution.
    exponent : float
        Exponent of the budget that gives the number of solutions.
    crossover : int
        Budget below which the method is a plain majority vote.
    verifier : str
        Name of the model that verifies; by default the main model.
    """
    parts = split(budget, ratio, exponent) if budget >= crossover else BudgetSplit(budget, 0)
    if parts.checks:
        values = {"n": parts.solutions, "checks": parts.checks, "verifier": verifier}
        answer: Answer = yield CallMethod("generative_verifier", problem, values)
    else:
        answer = yield CallMethod("self_consistency", problem, {"n": parts.solutions})
    return replace(answer, details={**answer.details, **parts._asdict()})
