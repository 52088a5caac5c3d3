"""Iterative agent decoding: refine from the best and the worst completion, and accept only improvements."""

from __future__ import annotations

import math

from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, ScorerName
from intact.reason.parts.prompting import as_reply, make_prompt
from intact.reason.parts.revising import better
from intact.reason.parts.stepwise import or_spent, until_spent

REFINE = """\
{question}

Here is the best answer so far, which a verifier gave a score of {best_score}:

{best}

And here is the worst one, with a score of {worst_score}:

{worst}

Say in short what makes the one better than the other, and what is still wrong or missing. Then write a new answer in \
full that scores more than both."""


@method("Chakraborty et al. 2025, arXiv 2504.01931 (Review, Refine, Repeat)", group="revision", temperature=0.6)
def iad(
    problem: Problem, *, n: Count = 4, rounds: Count = 4, scorer: ScorerName = "likelihood", refine: str = REFINE
) -> Steps:
    """Write n completions per round, given the best and the worst so far with their scores; return the best overall.

    Parameters
    ----------
    n : int
        Number of completions per round.
    rounds : int
        Number of rounds, including the first, which sees no earlier completions.
    scorer : str
        Scorer that verifies completions.
    refine : str
        Prompt template for a better completion, with {question}, {best}, {best_score}, {worst} and {worst_score}.
    """
    texts: list[State] = yield [Extend(problem.start)] * n
    best, worst = (texts[0], -math.inf), (texts[0], math.inf)
    highest: list[float] = []
    with until_spent() as spent:
        while True:
            rewards = yield Score(scorer, texts)
            known = [None if problem.answer(text) is None else r for text, r in zip(texts, rewards, strict=True)]
            best = better(best, texts, known)
            worst = min([worst, *zip(texts, rewards, strict=True)], key=lambda pair: pair[1])
            highest.append(best[1])
            if len(highest) == rounds:
                break
            values = {"best": best[0].text, "worst": worst[0].text}
            scores = {"best_score": f"{best[1]:.3f}", "worst_score": f"{worst[1]:.3f}"}
            prompt = make_prompt(problem, refine, **values, **scores)
            texts = [as_reply(problem, text) for text in (yield [Extend(problem.ask(prompt))] * n)]
    if spent and not highest:
        raise spent[0]
    return or_spent(take(problem, best[0], highest=highest, rounds=len(highest)), spent)
