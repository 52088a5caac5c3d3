"""Texts that are scored: their tokens are given, and told with their log-probabilities as if they had been drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from intact.engine.run import Run, Top
from intact.engine.sequence import Event, Finish, Request
from intact.executors.base import Executor
from intact.numerics.sampling import make_sampling


class Recital(Run):
    """A piece of a text that is scored: a draw at each of its rows, whose outcome is given."""

    __slots__ = ()

    @property
    def given(self) -> NDArray[np.int32]:
        """The tokens that follow its rows, but for those that have been told."""
        sequence = self.sequence
        assert sequence.request.scored is not None
        return sequence.request.scored[sequence.scored : sequence.table.length + self.rows]

    def score(self, executor: Executor, logits: NDArray[np.int32]) -> None:
        """Take the given tokens as what was drawn."""
        tokens = self.given
        count = len(tokens)
        if count:
            values = executor.log_probabilities(logits[self.first : self.first + count], tokens.astype(np.int64))
            self.drawn = [[drawn] for drawn in zip(tokens.tolist(), values.tolist(), strict=True)]
        self.path, self.tops = list(range(count)), [()] * count


class Scoring:
    """A request for the log-probabilities of a text, and what it was told.

    Parameters
    ----------
    top : int
        How many of the likeliest tokens are wanted at each place.
    listen : callable
        Called at the end.
    """

    def __init__(self, tokens: Sequence[int], top: int = 0, listen: Callable[[], None] = lambda: None) -> None:
        text = np.array(tokens, np.int32)
        self._listen = listen
        self._logprobs: list[int] = []
        self._likeliest: list[Top] = []
        self._finish: Finish | None = None if len(text) > 1 else "length"  # nothing comes before the first
        self._error: Exception | None = None
        self.request = Request(
            text[:-1], [0], make_sampling(0.0), 1, self._sink, self._ended, draft=False, top=top, scored=text[1:]
        )

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._finish is not None

    def result(self) -> tuple[NDArray[np.int64], list[Top]]:
        """The log-probability of each token but the first, nats times 2^24, and the likeliest there if asked for."""
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
