"""A model's own prediction head as a drafter: it generates a few tokens ahead from the inputs of the model's head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import PagePool, PrefixIndex
from intact.engine.draft.base import GREEDY, DrawContext
from intact.engine.draft.draft_model import DraftModel, ModelDraft
from intact.engine.hidden import KeptRows, read_hidden
from intact.executors.base import Executor
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import AllGather
from intact.numerics.profiles import Profile

WINDOW: Final = 64
"""Number of final prompt rows that the head reads, and of tokens by which a sequence may grow without a guess."""
_FRACTION: Final = 20  # fraction bits of wide rows


class Given(Protocol):
    """The exchange of a head's program, which receives the rows of the next step."""

    rows: Sequence[bytes]

    def __call__(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Insert the rows of a step."""


class GivenRows:
    """The exchange of a prediction head's program: inserts the rows that no operation computes.

    Attributes
    ----------
    rows : sequence of bytes
        Rows of the next step, in the format of `Executor.head_inputs`.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.rows: Sequence[bytes] = ()

    def __call__(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Insert the rows of a step."""
        set_rows(whole, np.array([read_hidden(row, self._profile).floats for row in self.rows]))


def set_rows(target: NDArray[Any], floats: NDArray[Any]) -> None:
    """Assign floats to wide rows, or integers in Q20 rounded half to even."""
    target[:] = floats if target.dtype.kind == "f" else np.rint(np.ldexp(floats.astype(np.float64), _FRACTION))


def read_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return a copy of wide rows as float32."""
    return rows.copy() if rows.dtype == np.float32 else np.ldexp(rows.astype(np.float64), -_FRACTION).astype("f4")


class HeadDraft(ModelDraft):
    """The draft of one sequence by a prediction head.

    Its sequence, whose keys and values the cache holds, is shifted by one token: row i combines the hidden state of the
    model's row i with the token after it. It begins at the first known hidden state. Rows of guesses are computed from
    the head's own results, and recomputed once the model's hidden states are known.

    Attributes
    ----------
    ahead : bytes
        The head's own substitute for the model's hidden state after the last row that ran.
    """

    __slots__ = ("_first", "_hidden", "_keys", "_whole", "ahead")

    def __init__(self, drafter: PredictionHead, tokens: Sequence[int], draws: DrawContext) -> None:
        super().__init__(drafter, (), draws)
        self._whole = list(tokens)
        self._first = 0  # position of the first row's hidden state
        self._keys: list[int] = []  # one per row
        self._hidden: list[bytes] = []  # of the last rows, including all that the cache lacks
        self.ahead = b""

    @property
    def position(self) -> int:
        """Position of the next token to guess."""
        return len(self._whole)

    def part(self, start: int, end: int) -> bytes:
        """Return part of the rows as keys of the prefix index: a cached row depends only on its inputs."""
        return np.array(self._keys[start:end], np.uint32).tobytes()

    def forget(self) -> None:
        """Release the pages; the draft restarts from the next known hidden states."""
        self.table.drop()
        self.begin()
        self._first = -1
        self.text, self._keys, self._hidden = [], [], []

    def extend(self, tokens: Sequence[int]) -> None:
        """Compare the chain with the tokens generated; guessed rows are recomputed, since their inputs change."""
        self.compare(tokens)
        self._whole += tokens
        self.begin()
        self.ready = False

    def read(self, rows: KeptRows) -> None:
        """Append the rows whose hidden states have become known; restart after a gap."""
        end = self._first + len(self.text)
        if not rows.first <= end <= rows.first + len(rows.rows) == len(self._whole) - 1:
            self.forget()
            self._first = end = rows.first
        if rows.first + len(rows.rows) != len(self._whole) - 1:
            return  # the newest hidden states are missing, so there is nothing to guess from
        del self._hidden[: len(self._hidden) - self.missing]
        hidden, tokens = rows.rows[end - rows.first :], self._whole[end + 1 :]
        self.text += tokens
        self._hidden += hidden
        self._keys += [crc32(row, token) for row, token in zip(hidden, tokens, strict=True)]

    def inputs(self, chunk: SequenceChunk) -> list[bytes]:
        """Return the hidden states that enter with a chunk of this draft: the model's, or the head's own."""
        known = len(self.text)
        if chunk.position >= known:
            return [self.ahead]
        start = len(self._hidden) - known + chunk.position
        return self._hidden[start : start + len(chunk.tokens)]


class PredictionHead(DraftModel):
    """The model's own multi-token prediction head, used on its own.

    It has its own cache, which lacks everything before the last rows of a prompt.

    Attributes
    ----------
    given : Given

    Parameters
    ----------
    executor, given
        Executor and exchange of the head's program (`intact.models.prediction_heads`).
    cache_bytes : int, optional
        Maximum size of its pages in bytes.
    keep : bool
        As for `PrefixIndex`.
    options
        As for `DraftModel`.
    """

    name = "heads"
    hidden = WINDOW

    def __init__(
        self, executor: Executor, given: Given, cache_bytes: int | None = None, keep: bool = True, **options: Any
    ) -> None:
        index = PrefixIndex(PagePool(executor, cache_bytes), keep)
        close: Callable[[], None] = executor.close
        super().__init__(executor, index, close=close, **options)
        self.given = given

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> HeadDraft:
        """Return a draft; its sequence is computed when a guess is first requested."""
        draft = HeadDraft(self, tokens, draws)
        self._open.add(draft)
        return draft

    def run(
        self, chunks: Mapping[ModelDraft, SequenceChunk], guessing: Sequence[ModelDraft], wanted: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Run a step, and keep its substitutes for the model's hidden states for the next one."""
        rows: list[bytes] = []
        for draft, chunk in chunks.items():
            assert isinstance(draft, HeadDraft)
            rows += draft.inputs(chunk)
        self.given.rows = rows
        logits = super().run(chunks, guessing, wanted)
        results = self.results(wanted) if guessing else ()
        for draft, row in zip(guessing, results, strict=True):
            assert isinstance(draft, HeadDraft)
            draft.ahead = row.tobytes()
        return logits

    def results(self, wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Return the substitutes for the model's hidden states at the wanted rows of the last step."""
        return self.executor.head_inputs(np.arange(len(wanted)))
