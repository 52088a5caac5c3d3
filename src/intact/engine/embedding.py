"""Embeddings: texts as vectors, made of what enters the model's head behind their last token.

The head's input is made of exact integers (`intact.engine.hidden`), and so is the sum of its squares; the square root
and the division are those of IEEE 754, correctly rounded. A vector therefore has the same bits at any batch size,
thread count, chunk, tier and machine, as everything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.hidden import HiddenState, read_hidden
from intact.engine.request import Event, Finish, GenerateRequest


class Embedding(NamedTuple):
    """The vector of a text.

    Attributes
    ----------
    vector : float32 (dimensions,)
        Of length 1, so that the product of two is the cosine of their angle; zeros where the hidden state is zero.
    tokens : int
        The tokens that were read.
    """

    vector: NDArray[np.float32]
    tokens: int


def unit_vector(hidden: HiddenState, dimensions: int) -> NDArray[np.float32]:
    """Return a hidden state's first components as a vector of length 1.

    Parameters
    ----------
    dimensions : int
        The model's width, or fewer: models trained for it (Matryoshka, arXiv 2205.13147) lose little then.
    """
    values = hidden.values[:dimensions]
    squares = sum(int(value) ** 2 for value in values)
    return (values.astype(np.float64) / (math.sqrt(squares) or 1.0)).astype(np.float32)


class EmbeddingJob:
    """A request for the embedding of a text, and its result.

    Parameters
    ----------
    profile : str
        The executor's, in whose form hidden states are.
    dimensions : int
        Components of the vector: the model's width, or fewer.
    listen : callable
        Called at the end.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        profile: str,
        dimensions: int,
        priority: int = 0,
        listen: Callable[[], None] = lambda: None,
    ) -> None:
        self._profile, self._dimensions, self._listen = profile, dimensions, listen
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

    def result(self) -> Embedding:
        """Return the embedding, once it is done.

        Raises
        ------
        IntactError
            That ended the request.
        """
        if self._error is not None:
            raise self._error
        if not self._head:
            raise RuntimeError("the engine was closed before the text was read")
        hidden = read_hidden(self._head, self._profile)
        return Embedding(unit_vector(hidden, self._dimensions), len(self.request.prompt))

    def _sink(self, event: Event) -> None:
        self._head = event.head

    def _ended(self, _: int, finish: Finish, error: Exception | None) -> None:
        self._finish, self._error = finish, error
        self._listen()
