"""Adaptive compute: the model itself says whether it would do better if it began anew, even in the middle of a text."""

from __future__ import annotations

from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Amount, Count, ScorerName, Share, WeightScorer
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.beam import keep_best


@method("Manvi, Singh & Ermon 2024, arXiv 2410.02725", group="samples, chosen by a scorer", temperature=1.0)
def adaptive_sampling(
    problem: Problem, *, n: Count = 16, scorer: WeightScorer = "restart", threshold: Amount = 0.9, anneal: bool = True
) -> Steps:
    """Sample one text after the other, each hotter than the last, until one is good enough; take the best.

    Parameters
    ----------
    n : int
        Samples at most.
    scorer : str
        The scorer; its scores are at least 0. restart is the model's own word that it would do no better anew.
    threshold : float
        The score of a text after which none is sampled.
    anneal : bool
        If true, sample k has the temperature 1 - 2^-(k - 1), the first 0; else all have the same.
    """
    samples: list[State] = []
    rewards: list[float] = []
    accepted = False
    with until_spent() as spent:
        while len(samples) < n and not accepted:
            heat = round(1 - 0.5 ** len(samples), 6) if anneal else None  # temperatures have 6 decimals
            sample = yield Extend(problem.start, temperature=heat)
            (reward,) = yield Score(scorer, [sample])
            samples.append(sample)
            rewards.append(reward)
            accepted = reward >= threshold and problem.answer(sample) is not None
    return or_spent(pick(problem, samples, rewards, accepted=accepted), spent)


@method("Manvi, Singh & Ermon 2024, arXiv 2410.02725", group="samples, chosen by a scorer", temperature=0.8)
def early_pruning(
    problem: Problem, *, n: Count = 16, tokens: Count = 64, keep: Share = 0.25, scorer: ScorerName = "restart"
) -> Steps:
    """Begin n texts, go on with those only that promise most after a few tokens, and take the best of these.

    Parameters
    ----------
    n : int
        Texts that are begun.
    tokens : int
        Tokens after which they are judged.
    keep : float
        The share that is kept, at least one text.
    scorer : str
        The scorer, of unfinished texts too; restart is the model's own word that it would do no better anew.
    """
    begun = yield [Extend(problem.start, max_tokens=tokens)] * n
    hopes = yield Score(scorer, begun)
    places = keep_best(hopes, max(1, int(n * keep)))
    kept = [begun[i] for i in places]
    going = [state for state in kept if not state.complete and not state.ended]
    rest = iter((yield [Extend(state) for state in going]) if going else ())
    texts = [next(rest) if state in going else state for state in kept]
    rewards = [hopes[i] for i in places]
    with until_spent() as spent:  # else what their beginnings promised decides
        rewards = yield Score(scorer, texts)
    return or_spent(pick(problem, texts, rewards, hopes=list(hopes)), spent)
