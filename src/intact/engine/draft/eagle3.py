"""EAGLE-3 heads (arXiv 2503.01840) as drafters, and the model executor that keeps the rows they read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.draft_model import ModelDraft
from intact.engine.draft.prediction_head import PredictionHead, read_rows, set_rows
from intact.executors.base import Executor
from intact.models.aspects.step import SequenceChunk
from intact.models.eagle3 import FEATURES
from intact.models.layers import watched_program
from intact.models.ops import AllGather
from intact.models.program import Program

_ABSENT: Final = 64 << 16
"""Distance, in Q16, below a head's lowest logit at which the logits that the head lacks are set."""


class WatchedExecutor:
    """A model executor that keeps the rows entering some layers in each step.

    Otherwise it behaves like the executor of the same program.

    Parameters
    ----------
    program : Program
        The model's own program, also available as the attribute `program`.
    boundaries : sequence of int
        Numbers of the layers whose inputs are kept, in any order; the number after the last layer is the head.
    make : callable
        Makes the actual executor from a program and an exchange, like `ExecutorSettings.make_executor`.
    options
        Further arguments of `make`.
    """

    def __init__(
        self, program: Program, boundaries: Sequence[int], make: Callable[..., Executor], **options: Any
    ) -> None:
        watched = sorted(set(boundaries))
        self.program = program
        self._columns = [watched.index(boundary) for boundary in boundaries]
        self._rows = deque[NDArray[np.float32]](maxlen=len(watched))  # the wanted rows of the last step
        self._wanted = np.zeros(0, np.int64)
        self._inner = make(watched_program(program, watched), self._keep, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _keep(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        self._rows.append(read_rows(_of_wanted(whole, self._wanted)))

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run a step; return the logits of the wanted rows."""
        self._wanted = wanted
        return self._inner.step(chunks, wanted)

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run a step; return the logits of the wanted rows as floats."""
        self._wanted = wanted
        return self._inner.step_float(chunks, wanted)

    def layer_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the kept rows, concatenated over the layers, for some of the wanted rows of the last step."""
        return np.concatenate([self._rows[column][rows] for column in self._columns], axis=1)


class EagleRows:
    """The exchange of a head's program.

    Attributes
    ----------
    rows : sequence of bytes
        Input rows of the next step, as float32: the concatenated rows of the model's layers, or an output of the head's
        own layer.
    results : float32 (rows, width)
        Output of the head's layer in the last step.
    """

    def __init__(self) -> None:
        self.rows: Sequence[bytes] = ()
        self.results = np.zeros((0, 0), np.float32)
        self._entering = False

    def __call__(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Insert the model's rows, then add the head's own; keep the output rows."""
        if op.target == FEATURES:
            self._entering = True
            set_rows(whole, self._padded(whole.shape[1]))
        elif self._entering:
            self._entering = False
            set_rows(whole, read_rows(whole) + self._padded(whole.shape[1]))
        else:
            self.results = read_rows(whole)

    def _padded(self, width: int) -> NDArray[np.float32]:
        """Return the rows of this width, with zeros in place of all other rows."""
        found = np.zeros((len(self.rows), width), np.float32)
        for i, row in enumerate(self.rows):
            if len(row) == 4 * width:
                found[i] = np.frombuffer(row, np.float32)
        return found


class Eagle(PredictionHead):
    """An EAGLE-3 head, which reads rows from between the model's layers.

    Parameters
    ----------
    executor, given
        Executor and exchange of the head's program (`intact.models.eagle3`).
    tokens : int32 (logits,), optional
        The main model's token for each of the head's logits.
    options
        As for `PredictionHead`; the model's executor must be a `WatchedExecutor`.
    """

    name = "eagle3"

    def __init__(
        self, executor: Executor, given: EagleRows, tokens: NDArray[np.int32] | None = None, **options: Any
    ) -> None:
        super().__init__(executor, given, **options)
        self._rows, self._tokens = given, tokens

    def hidden_rows(self, executor: Executor, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows kept from the model's layers, for some of the wanted rows of a step."""
        assert isinstance(executor, WatchedExecutor)
        return executor.layer_inputs(rows)

    def results(self, wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Return the layer's output at the wanted rows of the last step."""
        return _of_wanted(self._rows.results, wanted)

    def run(
        self, chunks: Mapping[ModelDraft, SequenceChunk], guessing: Sequence[ModelDraft], wanted: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Run a step; return logits for the model's whole vocabulary, even if the head covers only part of it."""
        logits = super().run(chunks, guessing, wanted)
        if self._tokens is None or not len(logits):
            return logits
        least = max(int(logits.min()) - _ABSENT, np.iinfo(np.int32).min)
        whole = np.full((len(logits), self._vocabulary), least, np.int32)
        whole[:, self._tokens] = logits
        return whole


def _of_wanted(rows: NDArray[Any], wanted: NDArray[np.int64]) -> NDArray[Any]:
    """Return the wanted rows of a step; after the last attention layer, some executors compute only those."""
    return rows if len(rows) == len(wanted) else rows[wanted]
