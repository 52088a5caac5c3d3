"""Particle Gibbs: sweeps of conditional sequential Monte Carlo around a retained text."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import Annotated

from intact.errors import SpentError
from intact.reason import Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import ChanceScorer, Count, Filled, at_least
from intact.reason.particles import Particle, Potential, dead, move
from intact.reason.populations.resampling import multinomial
from intact.reason.populations.weights import relative
from intact.reason.stepwise import or_spent, until_spent


@method("Puri et al. 2025, arXiv 2502.01618; Andrieu, Doucet & Holenstein 2010", group="particles", temperature=1.0)
def particle_gibbs(
    problem: Problem,
    *,
    n: Annotated[int, partial(at_least, 2)] = 8,
    sweeps: Count = 4,
    scorer: ChanceScorer = "likelihood",
    steps: Count = 40,
    delimiter: Filled = "\n\n",
    potential: Potential = "ratio",
) -> Steps:
    """Repeat sequential Monte Carlo, each time around a text that the last one drew; vote by all weights.

    Parameters
    ----------
    n : int
        Particles, the retained one included.
    sweeps : int
        How often; the first has nothing to retain.
    scorer : str
        Who judges a text so far, by a reward in [0, 1].
    steps : int
        The most steps.
    delimiter : str
        What ends a step.
    potential : str
        ratio: the target is p(text) r(text), r the last reward; product: p(text) times the rewards of all its steps.
    """
    states: list[State] = []
    shares: list[Fraction] = []
    reference: Particle | None = None
    spent: list[SpentError] = []
    for number in range(sweeps):
        particles, spent = yield from sweep(problem, n, reference, scorer, steps, delimiter, potential, number)
        if spent and number:
            break  # half a sweep draws no texts; of the first one, which is plain, those that there are count
        states += [particle.state for particle in particles]
        if dead(particles):
            shares += [Fraction(0)] * n
        else:
            weights = [Fraction(weight) for weight in relative([particle.log for particle in particles])]
            shares += [weight / sum(weights) for weight in weights]
            (drawn,) = multinomial(problem.key("reference", number), weights, 1)
            reference = particles[drawn]
        if spent:
            break
    return or_spent(elect(problem, states, shares if any(shares) else None), spent)


def sweep(
    problem: Problem,
    n: int,
    reference: Particle | None,
    scorer: str,
    steps: int,
    delimiter: str,
    potential: str,
    number: int,
) -> Part[tuple[list[Particle], list[SpentError]]]:
    """One pass of conditional sequential Monte Carlo; without a reference, of the plain kind.

    Where the budget ends it, also that error: then the particles are those of the last step that it paid for.

    Particle 0 follows the reference step by step and is always its own ancestor. The others are resampled before every
    step but the first, from all and in proportion to the weights of the step before, one independently of the other.
    """
    particles = [Particle((problem.start,))] * n
    with until_spent() as spent:
        for step in range(steps):
            retraced = reference is None or len(particles[0].path) == len(reference.path)
            if all(particle.ended for particle in particles) and retraced:
                break
            if step:
                weights = relative([particle.log for particle in particles])
                kept = [] if reference is None else [0]
                drawn = multinomial(problem.key("resample", number, step), weights, n - len(kept))
                particles = [particles[i]._replace(log=0.0) for i in kept + drawn]
            first = [] if reference is None else [particles[0].retrace(reference, potential)]
            particles = first + (yield from move(particles[len(first) :], scorer, delimiter, potential))
            if dead(particles):
                break
    return particles, spent
