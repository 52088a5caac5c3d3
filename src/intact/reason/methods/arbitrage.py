"""Arbitrage: a small model drafts each step, and a larger one rewrites it where that pays off."""

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
    """Draft each step with a small model, and have a larger one rewrite the steps that a scorer rejects.

    Parameters
    ----------
    large : str
        Name of the larger model.
    scorer : str
        Scorer of a sequence up to a step.
    rule : str
        Replacement rule: reward rewrites steps that score below `threshold`; oracle rewrites all steps, and keeps the
        rewrites that gain more than `gain`.
    threshold : float
        Minimum score at which the rule reward keeps a draft.
    gain : float
        Margin by which the larger model's step must outscore the draft to replace it under the rule oracle.
    steps : int
        Number of scored steps; the small model writes the rest without scoring.
    tokens : int
        Maximum number of tokens per step.
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
