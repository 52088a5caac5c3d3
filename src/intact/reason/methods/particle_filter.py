"""Particle filtering: a population of texts, resampled by a reward after every step."""

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
    """Return the temperature of the weights after so many steps, on a straight line from first to last.

    The authors' program counts from 0 to `steps` - 1, but draws first after step 1, so that `first` itself is never
    reached.
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
    """Write n texts step by step; after each step resample them by their newest reward.

    A text's weight is exp(s / softness) with s = ln(r / (1 - r)), r the reward of the newest step clipped to
    [1e-7, 1 - 1e-7]; weights of earlier steps do not count. Resampling is multinomial at every step, as the authors'
    program has it. The answer is that of the text with the largest last reward, the first of equals.

    What is done with texts that have ended decides what the population stands for. With `product` it is the measure
    of the model times the product of all weights that a text had on its way, whatever n: as many particles as one
    likes approach it, and exp of the detail `log_evidence` times a share of the last population has its mass as mean.
    The authors' two rules have no such target: with `authors` an ended text is weighed once more for each step that
    others take longer, with `apart` the pools of ended and of unfinished texts keep their sizes, whatever they weigh.

    Deviation: a text that has ended keeps its reward and is not judged again, which gives the same numbers.

    Parameters
    ----------
    n : int
        Particles.
    scorer : str
        The scorer of a step; its rewards are in [0, 1].
    softness : float
        Temperature of the weights.
    first_softness : float
        Where `annealing` is above 0, the temperature from which a straight line leads to `softness`.
    annealing : int
        Steps until `softness` is reached; 0: it holds from the first.
    scheme : str
        multinomial, stratified, systematic or residual.
    ended : str
        How texts take part that ended at an earlier step: authors, by their last weight again (`--resample-inactive`
        of the authors' program); apart, not at all (that program without the option); product, by the weight 1.
    final : str
        best, the text with the largest last reward; sample, one that is drawn from the last population: by its last
        weight (its_hub's SAMPLE), or with `ended=product`, whose population stands for the target already, evenly.
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
