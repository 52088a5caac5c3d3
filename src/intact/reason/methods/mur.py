"""MUR: resample steps that are more uncertain than those before them, and keep the best."""

from __future__ import annotations

from intact._base.exact import exp
from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Delimiter, ScorerName, Share
from intact.reason.parts.likeliest import check_likeliest
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.beam import keep_best


def newest(state: State) -> float:
    """Return the mean log-probability of the tokens in the newest step."""
    step = State(state.prompt, state.branch, state.pieces[-1:])
    check_likeliest([step])
    return step.mean_logprob


@method("Yan et al. 2025, arXiv 2507.14958", group="search step by step", temperature=0.6)
def mur(
    problem: Problem,
    *,
    n: Count = 4,
    scorer: ScorerName = "p_true",
    steps: Count = 20,
    rate: Share = 0.9,
    scale: Share = 0.8,
    delimiter: Delimiter = "\n\n",
) -> Steps:
    """Write one sequence step by step; if a step is less probable than earlier ones, choose the best of n alternatives.

    Parameters
    ----------
    n : int
        Number of steps sampled to replace an uncertain step.
    scorer : str
        Scorer that chooses among them, given the sequence up to that step.
    steps : int
        Maximum number of steps; after that the sequence is written to the end.
    rate : float
        Share of the momentum that is kept at each step.
    scale : float
        Share of the momentum's probability below which a step's mean token probability counts as uncertain.
    """
    text, momentum, written = problem.start, 0.0, 0
    redrawn: list[int] = []
    rewards: list[float] = []
    with until_spent() as spent:
        while written < steps and not text.ended:
            step = yield Extend(text, stop=(delimiter,))
            if written and exp(newest(step)) < exp(momentum) * scale:
                redrawn.append(written)
                drawn = yield [Extend(text, stop=(delimiter,))] * n
                rewards = yield Score(scorer, drawn)
                step = drawn[keep_best(rewards, 1)[0]]
            text, written = step, written + 1
            momentum = rate * momentum + (1 - rate) * newest(text)
        if not text.ended:
            text = yield Extend(text)
    return or_spent(take(problem, text, redrawn=redrawn, steps=written), spent)
