"""A model's own prediction head as a drafter: of what entered the model's head it writes a few tokens ahead."""

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
"""The last rows of a prompt that the head reads, and the most that a text may go on without a guess."""
_FRACTION: Final = 20  # of wide rows


class Given(Protocol):
    """The exchange of a head's program, to which the rows of the next step are given."""

    rows: Sequence[bytes]

    def __call__(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Set the rows of a step."""


class GivenRows:
    """The exchange of a prediction head's program: sets the rows that no operation makes.

    Attributes
    ----------
    rows : sequence of bytes
        Those of the next step, as `Executor.head_inputs` writes them.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self.rows: Sequence[bytes] = ()

    def __call__(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Set the rows of a step."""
        set_rows(whole, np.array([read_hidden(row, self._profile).floats for row in self.rows]))


def set_rows(target: NDArray[Any], floats: NDArray[Any]) -> None:
    """Set wide rows: floats, or integers in Q20, rounded half to even."""
    target[:] = floats if target.dtype.kind == "f" else np.rint(np.ldexp(floats.astype(np.float64), _FRACTION))


def read_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return a copy of wide rows as float32."""
    return rows.copy() if rows.dtype == np.float32 else np.ldexp(rows.astype(np.float64), -_FRACTION).astype("f4")


class HeadDraft(ModelDraft):
    """The draft of one sequence by a prediction head.

    Its text, of which the cache holds keys and values, is a token behind that of the model: row i has the token behind
    that of the model's row i, whose hidden state enters with it. It begins where the first of these is known. Rows of
    guesses are computed of the head's own results, and again once those of the model are known.

    Attributes
    ----------
    ahead : bytes
        What entered the model's head behind the last row that ran, as this head has it.
    """

    __slots__ = ("_first", "_hidden", "_keys", "_whole", "ahead")

    def __init__(self, drafter: PredictionHead, tokens: Sequence[int], draws: DrawContext) -> None:
        super().__init__(drafter, (), draws)
        self._whole = list(tokens)
        self._first = 0  # the position of the first row's hidden state
        self._keys: list[int] = []  # of each row
        self._hidden: list[bytes] = []  # of the last rows, at least of those that the cache lacks
        self.ahead = b""

    @property
    def position(self) -> int:
        """The position of the token that is to be guessed next."""
        return len(self._whole)

    def part(self, start: int, end: int) -> bytes:
        """Return a part of the rows as keys of the cache's index: what a row caches depends on its inputs alone."""
        return np.array(self._keys[start:end], np.uint32).tobytes()

    def forget(self) -> None:
        """Release the pages; the text begins anew where hidden states are known."""
        self.table.drop()
        self.begin()
        self._first = -1
        self.text, self._keys, self._hidden = [], [], []

    def extend(self, tokens: Sequence[int]) -> None:
        """Compare the chain with the tokens that came. What was guessed is computed again, as its inputs change."""
        self.compare(tokens)
        self._whole += tokens
        self.begin()
        self.ready = False

    def read(self, rows: KeptRows) -> None:
        """Append the rows whose hidden states have become known; begin anew if some in between are not."""
        end = self._first + len(self.text)
        if not rows.first <= end <= rows.first + len(rows.rows) == len(self._whole) - 1:
            self.forget()
            self._first = end = rows.first
        if rows.first + len(rows.rows) != len(self._whole) - 1:
            return  # those behind the last tokens are lacking: there is nothing to guess from
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
    """The model's own head that predicts further tokens, alone.

    It has a cache of its own, which lacks what a text has before the last rows of its prompt.

    Attributes
    ----------
    given : Given

    Parameters
    ----------
    executor, given
        Of the head's program (`intact.models.prediction_heads`).
    cache_bytes : int, optional
        The most bytes of its pages.
    keep : bool
        As that of `PrefixIndex`.
    options
        As of `DraftModel`.
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
        """Return a draft; its text is taken in when it is first requested."""
        draft = HeadDraft(self, tokens, draws)
        self._open.add(draft)
        return draft

    def run(
        self, chunks: Mapping[ModelDraft, SequenceChunk], guessing: Sequence[ModelDraft], wanted: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Run a step, and keep what it has in the place of the model's hidden states for the next one."""
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
        """Return what the wanted rows of the last step have in the place of the model's hidden states."""
        return self.executor.head_inputs(np.arange(len(wanted)))
