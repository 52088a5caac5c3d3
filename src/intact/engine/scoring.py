"""Scoring: given tokens are reported with their log-probabilities, as if they had been drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from intact.engine.request import Event, Finish, ScoreRequest
from intact.engine.sequence import SequenceRun, Top
from intact.executors.base import Executor


class ScoreRun(SequenceRun):
    """Part of a scored sequence: each row has a draw with a given result."""

    __slots__ = ()
    has_results = True

    @property
    def given(self) -> NDArray[np.int32]:
        """The tokens that follow its rows, except those already reported."""
        sequence, request = self.sequence, self.sequence.request
        assert isinstance(request, ScoreRequest)
        return request.given[sequence.scored : sequence.table.length + self.rows]

    def wanted(self, end: int) -> range:
        """Return the rows whose next tokens are given."""
        return range(end - len(self.given), end)

    def score(self, executor: Executor, logits: NDArray[np.int32]) -> None:
        """Compute the log-probabilities of the given tokens."""
        tokens = self.given
        count = len(tokens)
        if count:
            values = executor.log_probabilities(logits[self.first : self.first + count], tokens.astype(np.int64))
            self.drawn = [[drawn] for drawn in zip(tokens.tolist(), values.tolist(), strict=True)]
        self.path = list(range(count))


class Scoring:
    """A request for the log-probabilities of given tokens, and its result.

    Parameters
    ----------
    top : int
        Number of likeliest tokens to report at each position.
    listen : callable
        Called when the request ends.
    """

    def __init__(self, tokens: Sequence[int], top: int = 0, listen: Callable[[], None] = lambda: None) -> None:
        text = np.array(tokens, np.int32)
        self._listen = listen
        self._logprobs: list[int] = []
        self._likeliest: list[Top] = []
        self._finish: Finish | None = None if len(text) > 1 else "length"  # a single token has nothing to be scored
        self._error: Exception | None = None
        self.request = ScoreRequest(
            prompt=text[:-1], given=text[1:], keys=[0], limit=1, sink=self._sink, ended=self._ended, top=top
        )

    @property
    def done(self) -> bool:
        """True if the request has ended."""
        return self._finish is not None

    def result(self) -> tuple[NDArray[np.int64], list[Top]]:
        """Return each token's log-probability, except the first one's, in nats times 2^24, and the likeliest tokens."""
        if self._error is not None:
            raise self._error
        if self._finish != "length":
            raise RuntimeError("the engine was closed before the text was scored")
        return np.array(self._logprobs, np.int64), self._likeliest

    def _sink(self, event: Event) -> None:
        self._logprobs.append(event.logprob)
        if event.top:
            self._likeliest.append(event.top)

    def _ended(self, _: int, finish: Finish, error: Exception | None) -> None:
        self._finish, self._error = finish, error
        self._listen()
