"""REBASE: reward balanced search."""

from __future__ import annotations

from intact.reason import Problem, State, Steps, method
from intact.reason.limits import Count, Filled, Positive, ScorerName
from intact.reason.populations.rebase import allot
from intact.reason.stepwise import FinalRule, advance, settle, until_spent


@method("Wu et al. 2024, arXiv 2408.00724", group="search step by step", temperature=1.0)
def rebase(
    problem: Problem,
    *,
    n: Count = 16,
    balance: Positive = 0.2,
    scorer: ScorerName = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    final: FinalRule = "weighted",
) -> Steps:
    """Write steps, and share the next ones among texts in proportion to exp(reward / balance).

    Parameters
    ----------
    n : int
        Texts that are written at a time; one fewer for each that has ended.
    balance : float
        The temperature of shares: small ones favour the best text, large ones share evenly.
    scorer : str
        Who judges.
    steps : int
        The most steps.
    delimiter : str
        What ends a step.
    final : str
        How ended texts make the answer: best, weighted or majority.
    """
    ended: list[tuple[State, float]] = []
    going: list[tuple[State, float]] = [(problem.start, 0.0)]
    counts = [n]
    with until_spent() as spent:
        for _ in range(steps):
            parents = [state for (state, _), count in zip(going, counts, strict=True) for _ in range(count)]
            states, rewards = yield from advance(parents, scorer, delimiter)
            ended += [(s, r) for s, r in zip(states, rewards, strict=True) if s.ended]
            going = [(s, r) for s, r in zip(states, rewards, strict=True) if not s.ended]
            if not going:
                break
            counts = allot([r for _, r in going], n - len(ended), balance)
    pairs = ended or going
    return settle(problem, [s for s, _ in pairs], [r for _, r in pairs], final, spent)
