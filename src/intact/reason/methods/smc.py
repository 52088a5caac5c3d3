"""Sequential Monte Carlo with evidence."""

from __future__ import annotations

import math

from intact.reason import Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Amount, ChanceScorer, Count, Filled
from intact.reason.particles import Particle, Potential, dead, move
from intact.reason.populations.resampling import SchemeName, resample
from intact.reason.populations.weights import effective_size, log_mean, relative
from intact.reason.stepwise import or_spent, until_spent


@method("Lew et al. 2023, arXiv 2306.03081", group="particles", temperature=1.0)
def smc(
    problem: Problem,
    *,
    n: Count = 16,
    scorer: ChanceScorer = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    potential: Potential = "ratio",
    least: Amount = 0.5,
    scheme: SchemeName = "systematic",
) -> Steps:
    """Write n weighted texts step by step, resample where few of them count, and estimate the evidence.

    Weights multiply up over the steps; after resampling each is their mean. The answer is the one with the most weight,
    and its share estimates its probability under the target.

    Parameters
    ----------
    n : int
        Particles.
    scorer : str
        Who judges a text so far, by a reward in [0, 1].
    steps : int
        The most steps.
    delimiter : str
        What ends a step.
    potential : str
        ratio: the target is p(text) r(text), r the last reward; product: p(text) times the rewards of all its steps.
    least : float
        Particles are resampled where their effective number falls below this share of n.
    scheme : str
        multinomial, stratified, systematic or residual.
    """
    particles = [Particle((problem.start,))] * n
    sizes: list[float] = []
    with until_spent() as spent:
        for step in range(steps):
            if all(particle.ended for particle in particles):
                break
            particles = yield from move(particles, scorer, delimiter, potential)
            if dead(particles):
                break
            logs = [particle.log for particle in particles]
            weights = relative(logs)
            sizes.append(effective_size(weights))
            if sizes[-1] < least * n:
                ancestors = resample(scheme, problem.key("resample", step), weights, n)
                average = log_mean(logs)
                particles = [particles[i]._replace(log=average) for i in ancestors]
    states, logs = [particle.state for particle in particles], [particle.log for particle in particles]
    if dead(particles):
        return or_spent(elect(problem, states, log_evidence=-math.inf, sizes=sizes), spent)
    return or_spent(elect(problem, states, relative(logs), log_evidence=log_mean(logs), sizes=sizes), spent)
