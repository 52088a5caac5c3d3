"""Searches as compositions: open sequences get children, one step of each child is generated, and some are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from intact._base.errors import SpentError
from intact.reason.parts.particles import Trajectory
from intact.reason.parts.stepwise import until_spent
from intact.reason.populations.transformers import Kernel, cut, expand, sample, start
from intact.reason.problem import Problem
from intact.reason.registry import Part
from intact.reason.weighted import Weighted

Choice: TypeAlias = Callable[[Sequence[Trajectory], int], Sequence[int]]
"""Function that chooses indices of open sequences, each any number of times, to fill the given number of places."""


def all_of(going: Sequence[Trajectory], left: int) -> Sequence[int]:
    """Keep all sequences."""
    return range(len(going))


def search(
    problem: Problem, n: int, steps: int, step: Kernel[Trajectory, Trajectory], parents: Choice, keep: Choice = all_of
) -> Part[tuple[Weighted[Trajectory], list[SpentError]]]:
    """Extend n sequences step by step, one fewer for each that has ended; ended ones come first and are kept.

    Parameters
    ----------
    step : Kernel
        Generates and scores the next step of each open sequence.
    parents : Choice
        Chooses the parent of each sequence to be generated next.
    keep : Choice
        Chooses the new sequences to keep, in the order in which `parents` sees them.

    Returns
    -------
    Weighted and list of SpentError
        The ended sequences in the order in which they ended, or the last kept open sequences if none has ended; and the
        error of a budget that ended the search.
    """
    texts = start(Trajectory.begin(problem.start, 0.0))
    with until_spent() as spent:
        for _ in range(steps):
            texts = yield from sample(expand(texts, _chosen(texts, n, parents)), step)
            texts = cut(texts, _chosen(texts, n, keep))
            if not any(text.unended for text in texts):
                break
    ended = texts.where(lambda text: text.ended)
    return cut(texts, ended or range(len(texts))), spent


def _chosen(texts: Weighted[Trajectory], n: int, choose: Choice) -> list[int]:
    """Return the indices of ended sequences, followed by the chosen indices of open sequences."""
    ended, going = texts.where(lambda text: text.ended), texts.where(lambda text: text.unended)
    return [*ended, *(going[i] for i in choose([texts.values[i] for i in going], n - len(ended)))]
