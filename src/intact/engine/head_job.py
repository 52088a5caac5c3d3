"""A request for what enters the model's head behind the last token of a text, which nothing is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from intact.engine.request import Event, Finish, GenerateRequest


class HeadJob:
    """A request, and its result.

    Parameters
    ----------
    tokens : sequence of int
        The text.
    listen : callable
        Called at the end.
    """

    def __init__(self, tokens: Sequence[int], priority: int = 0, listen: Callable[[], None] = lambda: None) -> None:
        self._listen = listen
        self._head = b""
        self._finish: Finish | None = None
        self._error: Exception | None = None
        self.request = GenerateRequest(
            prompt=np.array(tokens, np.int32),
            keys=[0],
            limit=1,
            sink=self._sink,
            ended=self._ended,
            priority=priority,
            heads=True,
            draft=False,
        )

    @property
    def done(self) -> bool:
        """True if it has ended."""
        return self._finish is not None

    @property
    def tokens(self) -> int:
        """The tokens of the text."""
        return len(self.request.prompt)

    def result(self) -> bytes:
        """Return the head's input, as `Executor.head_inputs` writes it, once it is done.

        Raises
        ------
        IntactError
            That ended the request.
        """
        if self._error is not None:
            raise self._error
        if not self._head:
            raise RuntimeError("the engine was closed before the text was read")
        return self._head

    def _sink(self, event: Event) -> None:
        self._head = event.head

    def _ended(self, _: int, finish: Finish, error: Exception | None) -> None:
        self._finish, self._error = finish, error
        self._listen()
