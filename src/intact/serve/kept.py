"""Receipts that are kept for a while after their answer, to be fetched (docs/receipts.md)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from intact.engine.completion import Completion
from intact.reason.problem import Result
from intact.serve.errors import ApiError, encode


class Kept:
    """The receipts of the last answers, by the answers' identifiers; each for the client that asked alone.

    Parameters
    ----------
    most : int
        Bytes that all may take together. What is more by itself is not kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def add(self, client: str, name: str, answers: Sequence[Completion | Result]) -> None:
        """Keep the receipts of an answer; for them the oldest go."""
        content = encode([documented(answer) for answer in answers])
        if len(content) > self._most:
            return
        self._kept[client, name] = content
        self._bytes += len(content)
        while self._bytes > self._most:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def find(self, client: str, name: str) -> bytes:
        """The receipts of an answer, as a JSON list.

        Raises
        ------
        ApiError
            404, if there are none.
        """
        if (client, name) not in self._kept:
            message = f"there are no receipts of {name!r:.100}: ask for them with intact.receipt, and fetch them soon"
            raise ApiError(404, message, code="not_found")
        return self._kept[client, name]


def documented(answer: Completion | Result) -> Any:
    """An answer's receipt as JSON has it."""
    return None if answer.receipt is None else answer.receipt.to_document()
