"""PRISM: a population of complete solutions, resampled by score, rewritten, and accepted by a ratio of weights."""

from __future__ import annotations

from collections.abc import Sequence

from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, Natural, Positive, ScorerName, Share
from intact.reason.parts.prompting import make_prompt
from intact.reason.parts.revising import rewrite
from intact.reason.parts.stepwise import until_spent
from intact.reason.populations.resampling import systematic
from intact.reason.populations.variates import happens
from intact.reason.weights import effective_size, relative

REFINE = """\
{question}

Here is an earlier solution, which a verifier gave a score of {score}:

{answer}

Check it step by step, keep what is right, mend what is wrong, and write the whole solution anew."""


def limited(ancestors: Sequence[int], clones: int) -> list[int]:
    """Cap the number of places per ancestor at `clones`: beyond that, a place keeps its own sample."""
    taken: dict[int, int] = {}
    result = []
    for place, ancestor in enumerate(ancestors):
        taken[ancestor] = taken.get(ancestor, 0) + 1
        result.append(ancestor if taken[ancestor] <= clones else place)
    return result


@method("Sharma et al. 2026, arXiv 2603.02479", group="particles", temperature=0.7)
def prism(
    problem: Problem,
    *,
    n: Count = 10,
    rounds: Natural = 5,
    scorer: ScorerName = "likelihood",
    heat: Positive = 0.1,
    least: Share = 0.5,
    clones: Count = 3,
    refine: str = REFINE,
) -> Steps:
    """Sample n completions, resample them by score, rewrite each, accept each rewrite with some probability, and vote.

    Parameters
    ----------
    n : int
        Number of completions.
    rounds : int
        Number of rewrites per completion.
    heat : float
        Temperature of the weights, which are e^(score / heat).
    least : float
        Share of n below which the effective sample size triggers resampling.
    clones : int
        Maximum number of places that one completion takes up in resampling.
    refine : str
        Prompt template for a rewrite, with {question}, {answer} and {score}.
    """
    texts: list[State] = yield [Extend(problem.start)] * n
    scores: list[float] = [0.0] * n
    accepted, resampled = list[int](), list[int]()
    with until_spent():
        scores = yield Score(scorer, texts)
        for turn in range(rounds):
            weights = relative(scores, heat)
            if effective_size(weights) < least * n:
                places = limited(systematic(problem.key("resample", turn), weights, n), clones)
                texts, scores = [texts[i] for i in places], [scores[i] for i in places]
                resampled.append(turn)
            prompts = [
                make_prompt(problem, refine, answer=text.text, score=f"{score:.3f}")
                for text, score in zip(texts, scores, strict=True)
            ]
            requests = [Extend(text.ask(prompt)) for text, prompt in zip(texts, prompts, strict=True)]
            rewritten = yield from rewrite(problem, texts, requests)
            new = yield Score(scorer, rewritten)
            ratios = [relative([a, b], heat) for a, b in zip(new, scores, strict=True)]
            moves = [
                happens(problem.key("accept", turn, i), after / before if before else 1.0)
                for i, (after, before) in enumerate(ratios)
            ]
            texts = [b if move else a for a, b, move in zip(texts, rewritten, moves, strict=True)]
            scores = [b if move else a for a, b, move in zip(scores, new, moves, strict=True)]
            accepted.append(sum(moves))
    return elect(problem, texts, relative(scores, heat), accepted=accepted, resampled=resampled)
