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
"""Chances are exact: so many digits have they."""


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
    """Sample one text after the other until a scorer accepts one, and give its answer.

    With `rates`, the number of attempts is at most the one of the highest expected value, and the confidence is the
    chance that an accepted answer is right.

    Parameters
    ----------
    n : int
        Attempts at most, to 1,024.
    scorer : str
        Who verifies, by scores of at least 0.
    threshold : float
        The least score of a text that is accepted.
    abstain : bool
        If true, there is no answer where nothing is accepted; else that of the highest score.
    rates : str
        How often a sample is right, for each kind of problem times its share, such as 0.87*0.58, 0.13*0.42.
    completeness : float
        The chance that a right answer is accepted; counts only with rates.
    soundness : float
        The chance that a wrong answer is rejected; counts only with rates.
    fluke : float
        The cost of a wrong answer, where a right one is worth 1 and none 0; counts only with rates.
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
