"""REBASE: reward balanced search."""

from __future__ import annotations

from collections.abc import Sequence

from intact.reason import Problem, Steps, method
from intact.reason.limits import Count, Delimiter, MostSteps, Positive, ScorerName
from intact.reason.parts.composing import composed, decide
from intact.reason.parts.particles import Trajectory, next_step
from intact.reason.parts.searching import search
from intact.reason.parts.stepwise import FinalRule
from intact.reason.populations.rebase import allot


@composed("start (expand sample cut)* cut (choose|vote)")
@method("Wu et al. 2024, arXiv 2408.00724", group="search step by step", temperature=1.0)
def rebase(
    problem: Problem,
    *,
    n: Count = 16,
    balance: Positive = 0.2,
    scorer: ScorerName = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
    final: FinalRule = "weighted",
) -> Steps:
    """Write steps, and share the next ones among texts in proportion to exp(reward / balance).

    Parameters
    ----------
    n : int
        Texts that are written at a time; one fewer for each that has ended.
    balance : float
        The temperature of shares: small ones favour the best text, large ones share evenly.
    """

    def parents(going: Sequence[Trajectory], left: int) -> list[int]:
        counts = allot([text.reward for text in going], left, balance)
        return [i for i, count in enumerate(counts) for _ in range(count)]

    texts, spent = yield from search(problem, n, steps, next_step(scorer, delimiter), parents=parents)
    return decide(problem, texts, final, spent)
