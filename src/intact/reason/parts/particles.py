"""Sequences generated and scored step by step: the values in the populations of particle methods and searches."""

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
    """A sequence in progress, with its history.

    Attributes
    ----------
    states : tuple of State
        The sequence after each of its steps; the first is the bare prompt.
    rewards : tuple of float
        The reward of each state; the first is the initial reward.
    """

    states: tuple[State, ...]
    rewards: tuple[float, ...]

    @classmethod
    def begin(cls, state: State, reward: float = 1.0) -> Trajectory:
        """Begin with a prompt and an initial reward."""
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
        """If true, the text cannot continue."""
        return self.state.ended

    @property
    def unended(self) -> bool:
        """If true, the text can continue with another step."""
        return not self.state.ended

    def follow(self, state: State, reward: float) -> Trajectory:
        """Return the trajectory with one more step."""
        return Trajectory((*self.states, state), (*self.rewards, reward))

    def retrace(self, reference: Trajectory) -> Trajectory:
        """Follow a reference for one more step; return the reference itself if it has ended."""
        size = min(len(self.states) + 1, len(reference.states))
        return Trajectory(reference.states[:size], reference.rewards[:size])


def next_step(scorer: str, delimiter: str, lookahead: int = 0, **sampling: Any) -> Kernel[Trajectory, Trajectory]:
    """Return the kernel that generates and scores the next step of each unfinished sequence (`advance`)."""

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
        If the reward is outside [0, 1].
    """
    if not 0 <= text.reward <= 1:
        raise ParameterError(f"sequential Monte Carlo needs rewards in [0, 1], got {text.reward!r}")
    return Log.of(text.reward)


def before(text: Trajectory) -> Log:
    """Return the second-newest reward as a weight."""
    return Log.of(text.rewards[-2])


def divisor(potential: str) -> Callable[[Trajectory], Weight] | None:
    """Return the divisor of the newest reward: with ratio, the reward before it, so that only the last one counts."""
    one_of(POTENTIALS, potential=potential)
    return before if potential == "ratio" else None


def odds(text: Trajectory) -> Log:
    """Return `r / (1 - r)` of the newest reward, clipped (`intact.reason.weights.logit`)."""
    return Log(logit(text.reward))
