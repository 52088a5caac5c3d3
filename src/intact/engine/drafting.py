"""Speculative decoding in the engine's steps: which sequences get drafts, and how drafter and controller learn.

A step, for the sequences that decode:

1. `controller.interested` decides whether drafts pay off; open drafts are extended by the tokens drawn since;
2. `controller.propose` chooses trees; each sequence's last token and its tree run as one chunk;
3. each sequence draws after its last token with its own key and, while the drawn token is a child in the tree, after
   that child: these nodes form the path;
4. `controller.report` and `drafter.learn` record the result.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.engine.draft.base import Drafter, Observed, Tree
from intact.engine.draft.controller import Controller, Statistics
from intact.engine.draft.draft_model import DraftModel
from intact.engine.draft.eagle3 import Eagle
from intact.engine.draft.prediction_head import PredictionHead
from intact.engine.draft.union import Union
from intact.engine.request import ReplayRequest
from intact.engine.scheduler import Scheduler
from intact.engine.sequence import Sequence, SequenceRun, SequenceWork
from intact.executors.base import Executor


def _name_of(value: Any) -> str | None:
    is_drafter = isinstance(value, type) and Drafter in value.__mro__
    return getattr(value, "name", None) if is_drafter else None


DRAFTERS: Final[Registry[Callable[[int, bool], Drafter]]] = Registry(
    "intact.drafters", "intact.engine.draft.drafters", _name_of
)
OFF: Final = "off"
"""Name that selects no drafter."""
MODEL: Final = DraftModel.name
"""Name that selects only a draft model."""
HEADS: Final = PredictionHead.name
"""Name that selects the model's own prediction head."""


class Drafting:
    """A drafter, which guesses, and a controller, which decides how many guesses to run.

    The engine calls `guess`, `observe` and `report` in this order in each step. Steps in which no sequence could
    have a draft do not count.
    """

    def __init__(self, drafter: Drafter, controller: Controller | None = None) -> None:
        self.drafter, self.controller = drafter, controller or Controller()
        self._drafting = False  # true if a sequence can have a draft in this step

    @property
    def statistics(self) -> Statistics:
        """Counts of proposed and accepted nodes so far."""
        return self.controller.statistics

    @property
    def hidden(self) -> int:
        """Number of most recent head inputs that the drafter reads per sequence; 0: none."""
        return self.drafter.hidden

    def guess(self, works: Several[SequenceWork], scheduler: Scheduler, allowed: bool) -> dict[Sequence, Tree]:
        """Return drafts for decoding sequences, within the spare rows and the free pages.

        Parameters
        ----------
        allowed : bool
            If false, return no drafts, and let the controller measure a step without them.
        """
        controller = self.controller
        decoding = [work.sequence for work in works if _guessable(work)]
        self._drafting = any(sequence.may_draft for sequence in decoding)
        if not self._drafting:
            return {}
        others = sum(work.rows for work in works if not _guessable(work))
        wanted = allowed and controller.interested(len(decoding), others)
        spare = scheduler.rows - others - len(decoding)
        drafts = [s.draft_by(self.drafter) if wanted and s.may_draft else None for s in decoding]
        limits = [min(sequence.left - 1, spare) for sequence in decoding]
        trees = controller.propose(drafts, limits, others, self.drafter.prepare)
        found: dict[Sequence, Tree] = {}
        if not any(tree is not None for tree in trees):
            return found
        for sequence, tree in zip(decoding, trees, strict=True):
            cut = tree.cut(spare) if tree is not None else None
            if cut is not None and scheduler.reserve_spare(sequence, 1 + len(cut.tokens)):
                found[sequence] = cut
                spare -= len(cut.tokens)
        return found

    def observe(self, executor: Executor, logits: NDArray[np.int32], runs: Several[SequenceRun]) -> Observed | None:
        """Return the rows that the drafter may learn from: the verified tokens and the likeliest tokens after each."""
        if not self._drafting or not self.drafter.candidates or not self.controller.learning:
            return None
        known = [run for run in runs if run.sequence.draft is not None]
        rows = [run.first + row for run in known for row in run.path]
        if not rows:
            return None
        texts = [_last_tokens(run, self.drafter.context) for run in known]
        candidates = executor.likeliest(logits, np.array(rows, np.int64), self.drafter.candidates)
        found = logits[np.array(rows)[:, None], candidates].astype(np.int64)
        windows = np.concatenate(texts)
        return Observed(windows[:, -1], windows[:, :-1], candidates, found[:, :1] - found)

    def report(self, runs: Several[SequenceRun], observed: Observed | None) -> None:
        """Report which drafts were accepted, and train the drafter."""
        if not self._drafting:
            return
        decoding = [run for run in runs if _guessable(run)]
        self.controller.report([run.tree for run in decoding], [[row - 1 for row in run.path[1:]] for run in decoding])
        if observed is not None:
            self.drafter.learn(observed)


def _last_tokens(run: SequenceRun, context: int) -> NDArray[np.int32]:
    """Return, for each row of a run's path, its token preceded by `context` earlier ones; -1 before the start."""
    sequence = run.sequence
    start = sequence.length - 1 - context
    text = np.concatenate([sequence.tokens(max(0, start), sequence.length), np.array(run.followed, np.int32)])
    if start < 0:
        text = np.concatenate([np.full(-start, -1, np.int32), text])
    return np.lib.stride_tricks.sliding_window_view(text, context + 1)


def _guessable(work: SequenceWork | SequenceRun) -> bool:
    """Return true if this is a decoding step of a single stream whose tokens are not known in advance."""
    return work.decodes and not work.sequence.others and not isinstance(work.sequence.request, ReplayRequest)


def check_drafter(name: str, has_model: bool = False) -> None:
    """Raise if the drafter does not exist or does not fit.

    Parameters
    ----------
    has_model : bool
        If true, a draft model is given.

    Raises
    ------
    ParameterError
        If the name is neither a drafter nor "off"; if "model" lacks a draft model, or "off" has one.
    """
    others = (MODEL, HEADS, OFF)
    if name not in others and name not in DRAFTERS:
        raise ParameterError(unknown_name(f"no drafter named {name!r:.60}", str(name), [*DRAFTERS, *others]))
    if name == MODEL and not has_model:
        raise ParameterError("the drafter 'model' needs a draft model: give draft_model=")
    if name == OFF and has_model:
        raise ParameterError("a draft model needs a drafter, but drafter is 'off': use drafter='auto' or 'model'")


def describe_drafters() -> list[dict[str, Any]]:
    """Describe each drafter: name, summary, origin, the argument that selects it, and what it learns."""
    own: dict[str, Any] = {MODEL: DraftModel, HEADS: PredictionHead, "eagle3": Eagle}
    found: dict[str, Any] = {**DRAFTERS, **own}
    return [
        {
            "name": name,
            "summary": (kind.__doc__ or "").strip().partition("\n")[0],
            "origin": "intact" if name in own else DRAFTERS.origin(name),
            "draft_model": kind in (DraftModel, Eagle),
            "chosen_by": "draft_model" if kind is Eagle else "drafter",
            "candidates": kind.candidates,
            "context": kind.context,
        }
        for name, kind in sorted(found.items())
    ]


def make_drafting(
    name: str,
    vocabulary: int,
    trees: bool,
    model: DraftModel | None = None,
    head: PredictionHead | None = None,
) -> Drafting | None:
    """Create the drafting state for a drafter's name, which has passed `check_drafter`; None for "off".

    Parameters
    ----------
    vocabulary : int
        Vocabulary size of the model.
    trees : bool
        If true, the executor runs trees; otherwise drafts are chains.
    model : DraftModel, optional
        Draft model, used in addition to the named drafter, or on its own if the name is "model".
    head : PredictionHead, optional
        Drafter selected by "heads".
    """
    if name == OFF:
        return None
    members: list[Drafter] = [] if name in (MODEL, HEADS) else [DRAFTERS[name](vocabulary, trees)]
    members += [one for one in (head, model) if one is not None]
    return Drafting(members[0] if len(members) == 1 else Union(members))
