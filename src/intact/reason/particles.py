"""Weighted texts that are written step by step: what sequential Monte Carlo moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, NamedTuple, TypeAlias

from intact.errors import ParameterError
from intact.exact import ln
from intact.reason.limits import one_of
from intact.reason.problem import State
from intact.reason.registry import Part
from intact.reason.stepwise import advance

POTENTIALS = ("ratio", "product")
Potential: TypeAlias = Annotated[str, partial(one_of, POTENTIALS)]


class Particle(NamedTuple):
    """A text on its way, with its history.

    Attributes
    ----------
    path : tuple of State
        The text after each of its steps; the first is the prompt alone.
    rewards : tuple of float
        Those of its steps.
    log : float
        Its log-weight.
    """

    path: tuple[State, ...]
    rewards: tuple[float, ...] = ()
    log: float = 0.0

    @property
    def state(self) -> State:
        """The text so far."""
        return self.path[-1]

    @property
    def ended(self) -> bool:
        """If true, nothing can follow."""
        return self.state.ended

    def follow(self, state: State, reward: float, potential: str) -> Particle:
        """The particle a step later, its weight multiplied by the step's potential.

        ratio: r_t / r_(t-1), with r_0 = 1, so that the product is the last reward; product: r_t. A weight of 0 stays 0.

        Raises
        ------
        ParameterError
            If the reward lies outside of [0, 1], or the potential is unknown.
        """
        if not 0 <= reward <= 1:
            raise ParameterError(f"sequential Monte Carlo needs rewards in [0, 1], got {reward!r}")
        one_of(POTENTIALS, potential=potential)
        log = self.log
        if log > -math.inf:
            log += ln(reward)
            if potential == "ratio" and self.rewards:
                log -= ln(self.rewards[-1])
        return Particle((*self.path, state), (*self.rewards, reward), log)

    def retrace(self, reference: Particle, potential: str) -> Particle:
        """The particle a step later along a reference that it has followed so far; where that has ended, itself."""
        step = len(self.path)
        if step == len(reference.path):
            return self
        return self.follow(reference.path[step], reference.rewards[step - 1], potential)


def move(particles: Sequence[Particle], scorer: str, delimiter: str, potential: str) -> Part[list[Particle]]:
    """Write a step of each text that has not ended, and weigh it."""
    active = [i for i, particle in enumerate(particles) if not particle.ended]
    moved = list(particles)
    if active:
        extended, rewards = yield from advance([particles[i].state for i in active], scorer, delimiter)
        for i, state, reward in zip(active, extended, rewards, strict=True):
            moved[i] = particles[i].follow(state, reward, potential)
    return moved


def dead(particles: Sequence[Particle]) -> bool:
    """If true, all weights are 0."""
    return all(particle.log == -math.inf for particle in particles)
