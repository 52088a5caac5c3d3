"""Solve or verify: a budget is split into solutions and verifications by a law."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from intact._base.exact import power
from intact.reason import Answer, CallMethod, Problem, Steps, method
from intact.reason.limits import Count, ModelName, Natural, Positive, Share


class BudgetSplit(NamedTuple):
    """Solutions, and verifications of each."""

    solutions: int
    checks: int


def split(budget: int, ratio: float, exponent: float) -> BudgetSplit:
    """Return the split of a budget: `S = budget^exponent`, rounded, and as many checks V as `S (1 + ratio V)` leaves.

    Without a check of each, all are solutions.

    Parameters
    ----------
    budget : int
        In texts as long as a solution.
    ratio : float
        Tokens of a verification, over those of a solution.
    exponent : float
        Of the law of the number of solutions.
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
    """Split a budget between solutions and written verifications of them, and choose by the verdicts; or vote.

    Parameters
    ----------
    budget : int
        The whole budget, in texts as long as a solution.
    ratio : float
        Tokens of a verification, over those of a solution.
    exponent : float
        The number of solutions is the budget to this power.
    crossover : int
        Budgets below this go to the majority vote.
    verifier : str
        Who verifies, by the driver's name; by default the model that solves.
    """
    parts = split(budget, ratio, exponent) if budget >= crossover else BudgetSplit(budget, 0)
    if parts.checks:
        values = {"n": parts.solutions, "checks": parts.checks, "verifier": verifier}
        answer: Answer = yield CallMethod("generative_verifier", problem, values)
    else:
        answer = yield CallMethod("self_consistency", problem, {"n": parts.solutions})
    return replace(answer, details={**answer.details, **parts._asdict()})
