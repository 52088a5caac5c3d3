"""Drafts in the engine's steps: who gets one, and what the drafter and the controller hear of it."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft import DRAFTERS, Controller, Drafter, Statistics, Tree, make_drafter
from intact.engine.run import Run
from intact.engine.scheduler import Scheduler, Work
from intact.engine.sequence import Sequence
from intact.executors.base import Executor

OFF = "off"
CHOICES = (*DRAFTERS, OFF)
"""Names of drafters, and of doing without."""
Lesson = tuple[NDArray[np.int32], NDArray[np.int32]]
"""What a drafter learns from a step: tokens, and the likeliest to follow each."""


class Drafting:
    """A drafter, which guesses, and a controller, which says how much of it is run.

    The engine calls `guess`, `lesson` and `report` in this order in each step. Those in which nobody could have a draft
    count for nothing.
    """

    def __init__(self, drafter: Drafter, controller: Controller | None = None) -> None:
        self.drafter, self.controller = drafter, controller or Controller()
        self._concerned = False  # somebody could have a draft in this step

    @property
    def statistics(self) -> Statistics:
        """What was proposed and accepted so far."""
        return self.controller.statistics

    def guess(self, works: Several[Work], scheduler: Scheduler, allowed: bool) -> dict[Sequence, Tree]:
        """Drafts for sequences that decode, of what the budget of rows and the free pages leave.

        Parameters
        ----------
        allowed : bool
            Whether there may be any; if not, the controller learns what a step costs without.
        """
        controller = self.controller
        decoding = [work.sequence for work in works if _guessable(work)]
        self._concerned = any(sequence.may_draft for sequence in decoding)
        if not self._concerned:
            return {}
        others = sum(work.rows for work in works if not _guessable(work))
        asks = allowed and controller.interested(len(decoding), others)
        spare = scheduler.rows - others - len(decoding)
        drafts = [s.draft_by(self.drafter) if asks and s.may_draft else None for s in decoding]
        trees = controller.propose(drafts, [min(sequence.left - 1, spare) for sequence in decoding], others)
        found: dict[Sequence, Tree] = {}
        if not any(tree is not None for tree in trees):
            return found
        for sequence, tree in zip(decoding, trees, strict=True):
            cut = tree.cut(spare) if tree is not None else None
            if cut is not None and scheduler.reserve_spare(sequence, 1 + len(cut.tokens)):
                found[sequence] = cut
                spare -= len(cut.tokens)
        return found

    def lesson(self, executor: Executor, logits: NDArray[np.int32], runs: Several[Run]) -> Lesson | None:
        """What the drafter may learn: the tokens that were verified, and what is likely to follow each."""
        if not self._concerned or not self.drafter.candidates or not self.controller.learning:
            return None
        known = [run for run in runs if run.sequence.draft is not None]
        rows = [run.first + row for run in known for row in run.path]
        if not rows:
            return None
        tokens = [token for run in known for token in (run.sequence.last, *run.followed)]
        candidates = executor.likeliest(logits, np.array(rows, np.int64), self.drafter.candidates)
        return np.array(tokens, np.int32), candidates

    def report(self, runs: Several[Run], lesson: Lesson | None) -> None:
        """Which drafts came true, and what is to be learnt."""
        if not self._concerned:
            return
        decoding = [run for run in runs if _guessable(run)]
        self.controller.report([run.tree for run in decoding], [[row - 1 for row in run.path[1:]] for run in decoding])
        if lesson is not None:
            self.drafter.learn(*lesson)


def _guessable(work: Work | Run) -> bool:
    """Whether it is a step of decoding whose outcome nobody knows."""
    return work.decodes and work.sequence.request.known is None


def make_drafting(name: str, vocabulary: int, trees: bool) -> Drafting | None:
    """Drafting by a choice of `CHOICES`; other parameters as of `make_drafter`."""
    return None if name == OFF else Drafting(make_drafter(name, vocabulary, trees))
