"""Resampling until a verifier accepts."""

from __future__ import annotations

from functools import partial
from typing import Annotated, TypeAlias

from intact.reason import Answer, Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.attempts import best_number, chance_right, check_of, read_kinds
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Amount, Parts, Share, WeightScorer, within
from intact.reason.parts.stepwise import or_spent, until_spent

Attempts: TypeAlias = Annotated[int, partial(within, 1, 1024)]
"""Number of attempts; limited because the exact probabilities need more digits as it grows."""


def _check_rates(*, rates: str, completeness: float, soundness: float) -> None:
    if rates.strip():
        read_kinds(rates)
        check_of(completeness, soundness)


@method(
    "Stroebl et al. 2024, arXiv 2411.17501",
    group="samples, chosen by a scorer",
    checks=(_check_rates,),
    temperature=0.8,
)
def resample_until_verified(
    problem: Problem,
    *,
    n: Attempts = 10,
    scorer: WeightScorer = "likelihood",
    threshold: Amount = 0.5,
    abstain: bool = False,
    rates: Parts = "",
    completeness: Share = 1.0,
    soundness: Share = 1.0,
    fluke: Amount = 0.0,
) -> Steps:
    """Draw samples one at a time until a scorer accepts one, and return its answer.

    With `rates`, the number of attempts is capped at the number with the highest expected value, and the confidence is
    the probability that an accepted answer is right.

    Parameters
    ----------
    n : int
        Maximum number of attempts, at most 1,024.
    scorer : str
        Scorer that verifies samples, with scores of at least 0.
    threshold : float
        Minimum score of an accepted sample.
    abstain : bool
        If true, return no answer when nothing is accepted; otherwise return the answer with the highest score.
    rates : str
        Rate of right samples for each kind of problem, times that kind's share, such as 0.87*0.58, 0.13*0.42.
    completeness : float
        Probability that a right answer is accepted; used only with rates.
    soundness : float
        Probability that a wrong answer is rejected; used only with rates.
    fluke : float
        Cost of a wrong answer, where a right answer is worth 1 and no answer is worth 0; used only with rates.
    """
    kinds, check = read_kinds(rates) if rates.strip() else [], check_of(completeness, soundness)
    limit = best_number(kinds, check, fluke, n) if kinds else n
    samples: list[State] = []
    rewards: list[float] = []
    accepted: State | None = None
    with until_spent() as spent:
        while accepted is None and len(samples) < limit:
            sample = yield Extend(problem.start)
            (reward,) = yield Score(scorer, [sample])
            samples.append(sample)
            rewards.append(reward)
            if reward >= threshold and problem.answer(sample) is not None:
                accepted = sample
    counts = {"limit": limit, "attempts": len(samples), "accepted": accepted is not None}
    if accepted is not None:
        chance = chance_right(kinds, check, len(samples)) if kinds else None
        confidence = None if chance is None else float(chance)
        return Answer(problem.answer(accepted), {}, confidence, accepted, details={"rewards": rewards, **counts})
    if abstain or not limit:
        return Answer(None, details={"rewards": rewards, **counts})
    return or_spent(pick(problem, samples, rewards, **counts), spent)
