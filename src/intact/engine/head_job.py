"""Requests for the inputs of the model's head at the tokens of an input; nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.engine.request import Event, Finish, GenerateRequest, Request, ScoreRequest


class HeadJob:
    """A request for the head input at the last token, and its result.

    Parameters
    ----------
    tokens : sequence of int
        Tokens of the input.
    listen : callable
        Called when the request ends.
    """

    def __init__(self, tokens: Sequence[int], priority: int = 0, listen: Callable[[], None] = lambda: None) -> None:
        self._listen = listen
        self._heads: list[bytes] = []
        self._finish: Finish | None = None
        self._error: Exception | None = None
        self.tokens = len(tokens)
        text = np.array(tokens, np.int32)
        ends: dict[str, Any] = {"limit": 1, "sink": self._sink, "ended": self._ended}
        self.request = self._request(text, prompt=text, keys=[0], priority=priority, heads=True, **ends)

    def _request(self, text: NDArray[np.int32], **fields: Any) -> Request:
        return GenerateRequest(**fields, draft=False)

    @property
    def done(self) -> bool:
        """True if the request has ended."""
        return self._finish is not None

    def result(self) -> bytes:
        """Return the head input, in the format of `Executor.head_inputs`, once the job is done.

        Raises
        ------
        IntactError
            The error that ended the request.
        """
        return self._results()[-1]

    def _results(self) -> list[bytes]:
        if self._error is not None:
            raise self._error
        if self._finish != "length":
            raise RuntimeError("the engine was closed before the text was read")
        return self._heads

    def _sink(self, event: Event) -> None:
        self._heads.append(event.head)

    def _ended(self, _: int, finish: Finish, error: Exception | None) -> None:
        self._finish, self._error = finish, error
        self._listen()


class HeadsJob(HeadJob):
    """A request for the head inputs at all tokens of an input."""

    def _request(self, text: NDArray[np.int32], **fields: Any) -> Request:
        following = np.append(text[1:], text[-1:])  # the token given after the last one has no effect
        return ScoreRequest(**fields, given=following)

    def results(self) -> list[bytes]:
        """Return the head input at each token, once the job is done.

        Raises
        ------
        IntactError
            The error that ended the request.
        """
        return self._results()
