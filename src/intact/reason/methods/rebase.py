"""REBASE: reward-balanced search."""

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
    """Search step by step, and allocate the next steps among sequences in proportion to exp(reward / balance).

    Parameters
    ----------
    n : int
        Number of sequences extended at a time, reduced by one for each that has ended.
    balance : float
        Temperature of the shares: small values favour the best sequence, large values give even shares.
    """

    def parents(going: Sequence[Trajectory], left: int) -> list[int]:
        counts = allot([text.reward for text in going], left, balance)
        return [i for i, count in enumerate(counts) for _ in range(count)]

    texts, spent = yield from search(problem, n, steps, next_step(scorer, delimiter), parents=parents)
    return decide(problem, texts, final, spent)
