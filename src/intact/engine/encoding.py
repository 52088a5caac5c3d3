"""Encoders: models whose tokens attend to later ones process an input as a whole and return their head's inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.head_job import HeadJob
from intact.engine.request import EncodeRequest, Request
from intact.engine.sequence import SequenceRun

REFUSAL = "an encoder cannot generate text: use embed, or rerank if it has a reranking head"


class EncodeRun(SequenceRun):
    """A whole input in a step, with the rows that the request needs."""

    __slots__ = ()
    has_results = True

    def wanted(self, end: int) -> range:
        """Return the requested rows of an input whose rows end before `end` in the step; set the path to them."""
        request = self.sequence.request
        assert isinstance(request, EncodeRequest)
        first = end - self.rows
        rows = {"first": range(first, first + 1), "last": range(end - 1, end), "all": range(first, end)}[request.rows]
        self.path = list(range(len(rows)))
        return rows


class EncodingJob(HeadJob):
    """A request for the head inputs at some rows of an input, and its result.

    Parameters
    ----------
    rows : {'first', 'last', 'all'}
        Rows to return.
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
        """Return the head input at each row, once the job is done.

        Raises
        ------
        IntactError
            The error that ended the request.
        """
        whole = self.result()
        size = len(whole) // (self.tokens if self._rows == "all" else 1)
        return [whole[at : at + size] for at in range(0, len(whole), size)]


def check_request(request: Request, whole: bool) -> None:
    """Raise if a request does not suit the kind of model: encoder, or model that generates text.

    Raises
    ------
    ParameterError
        If an encoder is to generate text, or another model is to encode.
    """
    if whole and not isinstance(request, EncodeRequest):
        raise ParameterError(REFUSAL)
    if not whole and isinstance(request, EncodeRequest):
        raise ParameterError("the model generates text, but only encoders attend to a whole text in both directions")
