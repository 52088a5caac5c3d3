"""Texts that are written step by step, each judged: the values of particle methods' and searches' populations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeAlias

from intact._base.errors import ParameterError
from intact.reason.limits import one_of
from intact.reason.parts.stepwise import advance
from intact.reason.populations.transformers import Kernel
from intact.reason.problem import State
from intact.reason.registry import Part
from intact.reason.weighted import Log, Weight
from intact.reason.weights import logit

POTENTIALS = ("ratio", "product")
Potential: TypeAlias = Annotated[str, partial(one_of, POTENTIALS)]


class Trajectory(NamedTuple):
    """A text on its way, with its history.

    Attributes
    ----------
    states : tuple of State
        The text after each of its steps; the first is the prompt alone.
    rewards : tuple of float
        Those of `states`; the first is the one that texts begin with.
    """

    states: tuple[State, ...]
    rewards: tuple[float, ...]

    @classmethod
    def begin(cls, state: State, reward: float = 1.0) -> Trajectory:
        """Begin with a prompt, and a reward of nothing written yet."""
        return cls((state,), (reward,))

    @property
    def state(self) -> State:
        """The text so far."""
        return self.states[-1]

    @property
    def reward(self) -> float:
        """The newest reward."""
        return self.rewards[-1]

    @property
    def ended(self) -> bool:
        """If true, nothing can follow."""
        return self.state.ended

    @property
    def unended(self) -> bool:
        """If true, another step can follow."""
        return not self.state.ended

    def follow(self, state: State, reward: float) -> Trajectory:
        """Return the trajectory a step later."""
        return Trajectory((*self.states, state), (*self.rewards, reward))

    def retrace(self, reference: Trajectory) -> Trajectory:
        """Return it a step later along a reference that it has followed so far; where that has ended, itself."""
        size = min(len(self.states) + 1, len(reference.states))
        return Trajectory(reference.states[:size], reference.rewards[:size])


def next_step(scorer: str, delimiter: str, lookahead: int = 0, **sampling: Any) -> Kernel[Trajectory, Trajectory]:
    """Return the kernel that writes and judges the next step of each text that has not ended (`advance`)."""

    def write(texts: Sequence[Trajectory]) -> Part[list[Trajectory]]:
        active = [i for i, text in enumerate(texts) if text.unended]
        moved = list(texts)
        if active:
            states, rewards = yield from advance(
                [texts[i].state for i in active], scorer, delimiter, lookahead, **sampling
            )
            for i, state, reward in zip(active, states, rewards, strict=True):
                moved[i] = texts[i].follow(state, reward)
        return moved

    return write


def newest(text: Trajectory) -> Log:
    """Return the newest reward as a weight.

    Raises
    ------
    ParameterError
        If it lies outside of [0, 1].
    """
    if not 0 <= text.reward <= 1:
        raise ParameterError(f"sequential Monte Carlo needs rewards in [0, 1], got {text.reward!r}")
    return Log.of(text.reward)


def before(text: Trajectory) -> Log:
    """Return the reward before the newest one as a weight."""
    return Log.of(text.rewards[-2])


def divisor(potential: str) -> Callable[[Trajectory], Weight] | None:
    """Return what the newest reward is divided by: with ratio the one before, so that the last one counts."""
    one_of(POTENTIALS, potential=potential)
    return before if potential == "ratio" else None


def odds(text: Trajectory) -> Log:
    """Return `r / (1 - r)` of the newest reward, clipped (`intact.reason.weights.logit`)."""
    return Log(logit(text.reward))
