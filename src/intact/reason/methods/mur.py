"""MUR: steps that are more uncertain than those before them are written again, several times, and the best is kept."""

from __future__ import annotations

from intact._base.exact import exp
from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Delimiter, ScorerName, Share
from intact.reason.parts.likeliest import check_likeliest
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.beam import keep_best


def newest(state: State) -> float:
    """Return the mean log-probability of the tokens of the newest step."""
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
    """Write one text step by step; where a step is less probable than those before it, choose the best of n others.

    Parameters
    ----------
    n : int
        Steps that are written in place of an uncertain one.
    scorer : str
        Who chooses among them, by the text up to there.
    steps : int
        Steps at most; after them the text is written to its end.
    rate : float
        The share of the momentum that stays at each step.
    scale : float
        A step is uncertain if the mean probability of its tokens is below this share of that of the momentum.
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
