"""Particle Gibbs: sweeps of conditional sequential Monte Carlo around a retained sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Annotated, TypeAlias

from intact._base.errors import SpentError
from intact.reason import Answer, Part, Problem, Steps, method
from intact.reason.limits import ChanceScorer, Count, Delimiter, MostSteps, at_least
from intact.reason.parts.composing import composed, vote
from intact.reason.parts.particles import Potential, Trajectory, divisor, newest, next_step
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.transformers import Kernel, join, normalise, resample, sample, start, weigh
from intact.reason.weighted import Weighted


@composed("(start (sample weigh|resample normalise)* normalise join?)* vote")
@method("Puri et al. 2025, arXiv 2502.01618; Andrieu, Doucet & Holenstein 2010", group="particles", temperature=1.0)
def particle_gibbs(
    problem: Problem,
    *,
    n: Annotated[int, partial(at_least, 2)] = 8,
    sweeps: Count = 4,
    scorer: ChanceScorer = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
    potential: Potential = "ratio",
) -> Steps:
    """Repeat sequential Monte Carlo, each time around a sequence drawn in the last sweep; vote with all weights.

    Parameters
    ----------
    n : int
        Number of particles, including the retained one.
    sweeps : int
        Number of sweeps; the first one has no retained particle.
    potential : str
        Target: ratio is p(text) r(text), with r the last reward; product is p(text) times the rewards of all its steps.
    """
    kernel = next_step(scorer, delimiter)
    return (yield from gibbs(problem, n, sweeps, kernel, steps=steps, potential=potential))


Reselect: TypeAlias = Callable[[Weighted[Trajectory], Trajectory, tuple[int, int]], Part[tuple[int, Trajectory]]]
"""Function that chooses the sequence to which the rest of the reference is attached, given the particles, the
reference, and the sweep and step numbers; it returns that sequence's index and the resulting reference.
"""


def gibbs(
    problem: Problem,
    n: int,
    sweeps: int,
    kernel: Kernel[Trajectory, Trajectory],
    *,
    steps: int,
    potential: str,
    reselect: Reselect | None = None,
) -> Part[Answer]:
    """Run the sweeps, each around a sequence drawn in the previous sweep; vote with the weights of all sweeps."""
    swept: list[Weighted[Trajectory]] = []
    reference: Trajectory | None = None
    for number in range(sweeps):
        texts, spent = yield from sweep(
            problem, n, reference, kernel, steps=steps, potential=potential, number=number, reselect=reselect
        )
        if spent and number:
            break  # a partial sweep draws no reference; a partial first sweep, which is plain SMC, counts
        swept.append(normalise(texts, 1))
        if texts.mass:
            reference = resample(texts, problem.key("reference", number), 1).values[0]
        if spent:
            break
    return or_spent(vote(problem, reduce(join, swept)), spent)


def sweep(
    problem: Problem,
    n: int,
    reference: Trajectory | None,
    kernel: Kernel[Trajectory, Trajectory],
    *,
    steps: int,
    potential: str,
    number: int,
    reselect: Reselect | None = None,
) -> Part[tuple[Weighted[Trajectory], list[SpentError]]]:
    """Run one pass of conditional sequential Monte Carlo, or of plain sequential Monte Carlo without a reference.

    If the budget ends the pass, also return that error; the particles are then those of the last step that the budget
    covered.

    Particle 0 follows the reference step by step and is always its own ancestor, unless another is chosen. The other
    particles are resampled before every step but the first, independently, from all particles, in proportion to the
    weights of the previous step.
    """
    texts = start(Trajectory.begin(problem.start), n)
    with until_spent() as spent:
        for step in range(steps):
            if not any(text.unended for text in texts):
                break
            if step:
                kept = [] if reference is None else [0]
                if reference is not None and reselect is not None:
                    kept[0], reference = yield from reselect(texts, reference, (number, step))
                texts = normalise(resample(texts, problem.key("resample", number, step), kept=kept))
            active = texts.where(lambda text: text.unended)
            texts = yield from sample(texts, kernel if reference is None else retracing(reference, kernel))
            texts = weigh(texts, newest, over=divisor(potential), where=active)
            if not texts.mass:
                break
    return texts, spent


def retracing(reference: Trajectory, kernel: Kernel[Trajectory, Trajectory]) -> Kernel[Trajectory, Trajectory]:
    """Return a kernel that moves the first sequence along a reference, and the others by the given kernel."""

    def write(texts: Sequence[Trajectory]) -> Part[list[Trajectory]]:
        return [texts[0].retrace(reference), *(yield from kernel(texts[1:]))]

    return write
