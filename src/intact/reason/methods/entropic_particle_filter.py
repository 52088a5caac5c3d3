"""Entropic particle filtering: a particle filter that flattens weights if they collapse early."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from intact.reason import Problem, Steps, method
from intact.reason.limits import ChanceScorer, Count, Delimiter, Natural, Share, one_of
from intact.reason.parts.composing import composed, decide
from intact.reason.parts.particles import Trajectory, next_step, odds
from intact.reason.parts.stepwise import FinalRule, until_spent
from intact.reason.populations.annealing import RULES, entropic_temperature
from intact.reason.populations.resampling import SchemeName
from intact.reason.populations.transformers import normalise, resample, sample, start, weigh


@composed("start (sample weigh resample normalise)* (choose|vote)")
@method("Giannone et al. 2025, arXiv 2510.05825", group="particles", temperature=0.8)
def entropic_particle_filter(
    problem: Problem,
    *,
    n: Count = 8,
    scorer: ChanceScorer = "likelihood",
    steps: Count = 40,
    delimiter: Delimiter = "\n\n",
    lookahead: Natural = 0,
    rule: Annotated[str, partial(one_of, RULES)] = "ess",
    collapse: Share = 0.5,
    early: Share = 0.5,
    scheme: SchemeName = "systematic",
    final: FinalRule = "best",
) -> Steps:
    """Run a particle filter whose weights are flattened if they collapse early, which keeps the particles diverse.

    Parameters
    ----------
    n : int
        Number of particles.
    scorer : str
        Scorer of a step, with rewards in [0, 1].
    steps : int
        Maximum number of steps; progress is measured against it.
    lookahead : int
        Number of further steps, written greedily and then discarded, that are included when a sequence is scored.
    rule : str
        Rule that sets the temperature: ess, entropy or base.
    collapse : float
        Share of n below which the effective sample size counts as collapsed.
    early : float
        Share of the steps that count as early.
    scheme : str
        Resampling scheme: multinomial, stratified, systematic or residual.
    """
    texts, heats = start(Trajectory.begin(problem.start, 0.5), n), list[float]()
    with until_spent() as spent:
        for step in range(steps):
            if not any(text.unended for text in texts):
                break
            texts = weigh((yield from sample(texts, next_step(scorer, delimiter, lookahead))), odds)
            logs = [odds(text).value for text in texts]
            heats.append(entropic_temperature(logs, (step + 1) / steps, rule, collapse=collapse, early=early))
            key = problem.key("resample", step)
            texts = normalise(resample(texts, key, scheme=scheme, temperature=heats[-1]))
    return decide(problem, texts, final, spent, temperatures=heats)
