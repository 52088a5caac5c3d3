"""Particle filtering: a population of texts, resampled by a reward after every step."""

from __future__ import annotations

from functools import partial

from intact.reason import Problem, Steps, method
from intact.reason.composing import choose_any, composed, decide
from intact.reason.limits import ChanceScorer, Count, Filled, Positive
from intact.reason.particles import Trajectory, next_step, odds
from intact.reason.populations.resampling import SchemeName
from intact.reason.populations.transformers import normalise, resample, sample, start, weigh, within_places
from intact.reason.populations.weighted import Weight, Weighted
from intact.reason.stepwise import until_spent


@composed("start (sample weigh resample normalise)* choose")
@method("Puri et al. 2025, arXiv 2502.01618", group="particles", temperature=0.8)
def particle_filter(
    problem: Problem,
    *,
    n: Count = 8,
    scorer: ChanceScorer = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    softness: Positive = 1.0,
    scheme: SchemeName = "multinomial",
    inactive: bool = True,
) -> Steps:
    """Write n texts step by step; after each step resample them by their newest reward.

    A text's weight is exp(s / softness) with s = ln(r / (1 - r)), r the reward of the newest step clipped to
    [1e-7, 1 - 1e-7]; weights of earlier steps do not count. Resampling is multinomial at every step, as the authors'
    program has it. The answer is that of the text with the largest last reward, the first of equals.

    Deviation: a text that has ended keeps its reward and is not judged again, which gives the same numbers.

    Parameters
    ----------
    n : int
        Particles.
    scorer : str
        Who judges a step, by a reward in [0, 1].
    steps : int
        The most steps.
    delimiter : str
        What ends a step.
    softness : float
        Temperature of the weights.
    scheme : str
        multinomial, stratified, systematic or residual.
    inactive : bool
        Whether texts that have ended are resampled too; otherwise they stay.
    """
    texts = start(Trajectory.begin(problem.start, 0.5), n)

    def renewed(pool: Weighted[Trajectory], step: int) -> Weighted[Trajectory]:
        key = problem.key("resample", step)
        return normalise(resample(weigh(pool, factor), key, scheme=scheme, temperature=softness))

    with until_spent() as spent:
        for step in range(steps):
            active = texts.where(lambda text: text.unended)
            if not active:
                break
            texts = yield from sample(texts, next_step(scorer, delimiter))
            texts = within_places(texts, range(n) if inactive else active, partial(renewed, step=step))
    return decide(problem, texts, "best", spent) if spent else choose_any(problem, texts)


def factor(text: Trajectory) -> Weight:
    """Return what a text's weight is multiplied by at a step: the odds of its newest reward.

    This is the authors' rule. A text that has ended counts by its last odds once more at every later step, so that what
    it weighs depends on when the last of all texts ends: the filter has no fixed target.
    """
    return odds(text)
