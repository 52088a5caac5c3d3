"""Arbitrage: a small model drafts each step, and a larger one writes it again where that is worth it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from intact.reason import Extend, Problem, Score, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Amount, Count, Delimiter, ModelName, ScorerName, one_of
from intact.reason.parts.stepwise import or_spent, until_spent

RULES = ("reward", "oracle")


@method("Maheswaran et al. 2025, arXiv 2512.05033", group="races, and how long a text thinks", temperature=0.7)
def arbitrage(
    problem: Problem,
    *,
    large: ModelName = "large",
    scorer: ScorerName = "likelihood",
    rule: Annotated[str, partial(one_of, RULES)] = "reward",
    threshold: float = 0.7,
    gain: Amount = 0.0,
    steps: Count = 64,
    tokens: Count = 512,
    delimiter: Delimiter = "\n\n",
) -> Steps:
    """Draft each step by a small model, and have a larger one write it again where a scorer finds it wanting.

    Parameters
    ----------
    large : str
        The larger model, by the driver's name.
    scorer : str
        The scorer of the text up to a step.
    rule : str
        reward: steps below `threshold` are written again; oracle: all are, and the better one by `gain` stays.
    threshold : float
        The score from which on a draft stays, by the rule reward.
    gain : float
        The larger model's step stays if its score is more than so much higher, by the rule oracle.
    steps : int
        Steps that are judged; what follows them the small model writes alone.
    tokens : int
        Tokens of a step, at most.
    """
    text, taken, replaced = problem.start, 0, 0
    with until_spent() as spent:
        while not text.ended and taken < steps:
            draft = yield Extend(text, stop=(delimiter,), max_tokens=tokens)
            if draft.length == text.length:
                text = draft
                break  # nothing more can be written
            (score,) = yield Score(scorer, [draft])
            taken += 1
            if rule == "reward" and score >= threshold:
                text = draft
                continue
            other = yield Extend(text, stop=(delimiter,), max_tokens=tokens, model=large)
            if rule == "oracle":
                (better,) = yield Score(scorer, [other])
                if not better - score > gain:
                    text = draft
                    continue
            text, replaced = other, replaced + 1
        if not text.ended:
            text = yield Extend(text)
    return or_spent(take(problem, text, steps=taken, replaced=replaced), spent)
