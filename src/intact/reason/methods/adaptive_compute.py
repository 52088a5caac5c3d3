"""Adaptive compute: the model itself judges, even in mid-sequence, whether starting over would give a better answer."""

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
    """Draw samples one at a time, at rising temperature, until one scores high enough; return the best.

    Parameters
    ----------
    n : int
        Maximum number of samples.
    scorer : str
        Scorer with scores of at least 0; restart is the model's own estimate that starting over would not help.
    threshold : float
        Score at or above which sampling stops.
    anneal : bool
        If true, sample k has temperature 1 - 2^-(k - 1), so the first has temperature 0; otherwise all have the same
        temperature.
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
    """Start n samples, finish only those that score best after a few tokens, and return the best of these.

    Parameters
    ----------
    n : int
        Number of samples that are started.
    tokens : int
        Number of tokens after which samples are scored.
    keep : float
        Share of samples that are finished, at least one.
    scorer : str
        Scorer of finished and unfinished samples; restart is the model's own estimate that starting over would not
        help.
    """
    begun = yield [Extend(problem.start, max_tokens=tokens)] * n
    hopes = yield Score(scorer, begun)
    places = keep_best(hopes, max(1, int(n * keep)))
    kept = [begun[i] for i in places]
    going = [state for state in kept if not state.complete and not state.ended]
    rest = iter((yield [Extend(state) for state in going]) if going else ())
    texts = [next(rest) if state in going else state for state in kept]
    rewards = [hopes[i] for i in places]
    with until_spent() as spent:  # otherwise the scores of their beginnings decide
        rewards = yield Score(scorer, texts)
    return or_spent(pick(problem, texts, rewards, hopes=list(hopes)), spent)
