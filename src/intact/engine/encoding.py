"""Encoding of texts: a model whose rows see what follows them reads a text whole, and tells what enters its head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.head_job import HeadJob
from intact.engine.request import EncodeRequest, Request
from intact.engine.sequence import SequenceRun

REFUSAL = "an encoder reads texts and writes none: use embed, or rerank where it has a reranker's head"


class EncodeRun(SequenceRun):
    """A whole text in a step, of which some rows are wanted."""

    __slots__ = ()
    has_results = True

    def wanted(self, end: int) -> range:
        """Return the rows that are wanted of a text whose rows end before `end` in the step; set the path to them."""
        request = self.sequence.request
        assert isinstance(request, EncodeRequest)
        first = end - self.rows
        rows = {"first": range(first, first + 1), "last": range(end - 1, end), "all": range(first, end)}[request.rows]
        self.path = list(range(len(rows)))
        return rows


class EncodingJob(HeadJob):
    """A request for what enters the head at rows of a text, and its result.

    Parameters
    ----------
    rows : {'first', 'last', 'all'}
        The rows.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        rows: Literal["first", "last", "all"],
        priority: int = 0,
        listen: Callable[[], None] = lambda: None,
    ) -> None:
        self._rows = rows
        super().__init__(tokens, priority, listen)

    def _request(self, text: NDArray[np.int32], **fields: Any) -> Request:
        return EncodeRequest(**fields, rows=self._rows)

    def results(self) -> list[bytes]:
        """Return the head's input at each of the rows, once it is done.

        Raises
        ------
        IntactError
            That ended the request.
        """
        whole = self.result()
        size = len(whole) // (self.tokens if self._rows == "all" else 1)
        return [whole[at : at + size] for at in range(0, len(whole), size)]


def check_request(request: Request, whole: bool) -> None:
    """Raise if a request does not fit the model: an encoder, or one that writes texts.

    Raises
    ------
    ParameterError
        If it asks an encoder for text, or another model to read as an encoder does.
    """
    if whole and not isinstance(request, EncodeRequest):
        raise ParameterError(REFUSAL)
    if not whole and isinstance(request, EncodeRequest):
        raise ParameterError("the model writes texts: only encoders read a text so that all rows see all others")
