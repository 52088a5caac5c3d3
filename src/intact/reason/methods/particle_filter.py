"""Particle filtering: a population of sequences, resampled by reward after every step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from intact.reason import Problem, Steps, method
from intact.reason.limits import ChanceScorer, Count, Delimiter, MostSteps, Natural, Positive, one_of
from intact.reason.parts.composing import choose_any, composed, decide
from intact.reason.parts.particles import Trajectory, next_step, odds
from intact.reason.parts.stepwise import until_spent
from intact.reason.populations.resampling import SchemeName
from intact.reason.populations.transformers import normalise, resample, sample, start, weigh, within_places
from intact.reason.weighted import Weighted

ENDED = ("authors", "apart", "product")
FINALS = ("best", "sample")


def annealed(first: float, last: float, steps: int, step: int) -> float:
    """Return the temperature of the weights after a number of steps, interpolated linearly from first to last.

    The authors' code counts from 0 to `steps` - 1 but first resamples after step 1, so `first` itself is never used.
    """
    return last if step >= steps or steps == 1 else first - (first - last) * step / (steps - 1)


@composed("start (sample weigh resample normalise)* (weigh? resample)? choose")
@method("Puri et al. 2025, arXiv 2502.01618", version=2, group="particles", temperature=0.8)
def particle_filter(
    problem: Problem,
    *,
    n: Count = 8,
    scorer: ChanceScorer = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
    softness: Positive = 1.0,
    first_softness: Positive = 1.0,
    annealing: Natural = 0,
    scheme: SchemeName = "multinomial",
    ended: Annotated[str, partial(one_of, ENDED)] = "authors",
    final: Annotated[str, partial(one_of, FINALS)] = "best",
) -> Steps:
    """Extend n sequences step by step, and resample them by their newest reward after each step.

    A sequence's weight is exp(s / softness) with s = ln(r / (1 - r)), where r is the reward of the newest step clipped
    to [1e-7, 1 - 1e-7]; weights of earlier steps do not count. Resampling is multinomial at every step, as in the
    authors' code. The answer comes from the sequence with the largest last reward; ties go to the first.

    The treatment of finished sequences decides which measure the population represents. With `product`, it is the
    model's measure times the product of all weights of a sequence along its path, for any n: the population approaches
    it as n grows, and exp of the detail `log_evidence`, times the share of the last population that has some property,
    is an unbiased estimate of the target's mass with that property. The authors' two rules have no such target: with
    `authors`, a finished sequence is weighted again at every further step of the others; with `apart`, the pools of
    finished and unfinished sequences keep their sizes, whatever their weights.

    Deviation: a finished sequence keeps its reward and is not scored again, which gives the same numbers.

    Parameters
    ----------
    n : int
        Number of particles.
    scorer : str
        Scorer of a step, with rewards in [0, 1].
    softness : float
        Temperature of the weights.
    first_softness : float
        Initial temperature, which changes linearly to `softness` if `annealing` is above 0.
    annealing : int
        Number of steps until `softness` is reached; 0 uses it from the first step.
    scheme : str
        Resampling scheme: multinomial, stratified, systematic or residual.
    ended : str
        Treatment of sequences that ended at an earlier step: authors reuses their last weight (`--resample-inactive` in
        the authors' code); apart excludes them (the authors' code without that option); product gives them weight 1.
    final : str
        Selection rule: best, the sequence with the largest last reward; sample, a draw from the last population: by
        last weight (its_hub's SAMPLE), or evenly with `ended=product`, whose population already represents the target.
    """
    texts, evidence = start(Trajectory.begin(problem.start, 0.5), n), list[float]()

    def renewed(pool: Weighted[Trajectory], step: int, weighed: Sequence[int] | None) -> Weighted[Trajectory]:
        pool = weigh(pool, odds, where=weighed)
        heat = annealed(first_softness, softness, annealing, step + 1) if annealing else softness
        pool = resample(pool, problem.key("resample", step), scheme=scheme, temperature=heat)
        evidence.append(pool.log_mass)
        return normalise(pool)

    with until_spent() as spent:
        for step in range(steps):
            active = texts.where(lambda text: text.unended)
            if not active:
                break
            texts = yield from sample(texts, next_step(scorer, delimiter))
            weighed = active if ended == "product" else None
            pool = active if ended == "apart" else range(n)
            texts = within_places(texts, pool, partial(renewed, step=step, weighed=weighed))
    if final == "sample" and not spent:
        last = texts if ended == "product" else weigh(texts, odds)
        texts = resample(last, problem.key("final"), 1)
    if spent:
        return decide(problem, texts, "best", spent)
    return choose_any(problem, texts, **({"log_evidence": sum(evidence)} if ended == "product" else {}))
