"""Searches as compositions: open texts get children, a step of each is written, and some are kept."""

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
"""Chooses places among open texts, once or several times each, where so many places are left for them."""


def all_of(going: Sequence[Trajectory], left: int) -> Sequence[int]:
    """Keep all texts."""
    return range(len(going))


def search(
    problem: Problem, n: int, steps: int, step: Kernel[Trajectory, Trajectory], parents: Choice, keep: Choice = all_of
) -> Part[tuple[Weighted[Trajectory], list[SpentError]]]:
    """Write texts step by step, n at a time, one fewer for each that has ended; those stand first, and stay.

    Parameters
    ----------
    step : Kernel
        Writes and judges the next step of each open text.
    parents : Choice
        The parent of each text that is written next.
    keep : Choice
        The texts that are kept of those that were written, in the order that `parents` sees.

    Returns
    -------
    Weighted and list of SpentError
        The ended texts in the order in which they ended, or the open ones that were kept last if there is none; and the
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
    """Return the places of ended texts, and those that are chosen of open ones."""
    ended, going = texts.where(lambda text: text.ended), texts.where(lambda text: text.unended)
    return [*ended, *(going[i] for i in choose([texts.values[i] for i in going], n - len(ended)))]
