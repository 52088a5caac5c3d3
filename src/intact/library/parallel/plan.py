"""A step's plan as a list of integers: tokens, positions and pages of its chunks, and the wanted rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import WorkerError
from intact.models.aspects.step import SequenceChunk

_COUNTS: Final = 3
"""Numbers at the start: chunks, wanted rows, 1 for float logits."""
_FIELDS: Final = 6
"""Numbers per chunk: position, tokens, pages, parents, 1 for a tree, adapter."""


class StepPlan(NamedTuple):
    """The arguments of an executor's step; if `as_float`, logits are returned as floats."""

    chunks: list[SequenceChunk]
    wanted: NDArray[np.int64]
    as_float: bool


def plan_length(chunks: int, tokens: int, pages: int, wanted: int) -> int:
    """Return the length of a step's plan without trees, given total counts of chunks, tokens, pages and wanted rows."""
    return _COUNTS + chunks * _FIELDS + tokens + pages + wanted


def encode_plan(chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64], as_float: bool) -> NDArray[np.int64]:
    """Encode a step's plan as int64: the counts, then the fields of each chunk, then the lists."""
    heads, lists = [len(chunks), len(wanted), int(as_float)], []
    for chunk in chunks:
        tree = chunk.parents
        count = 0 if tree is None else len(tree)
        heads += [chunk.position, len(chunk.tokens), len(chunk.pages), count, int(tree is not None), chunk.adapter]
        lists += [chunk.tokens, chunk.pages, *([] if tree is None else [tree])]
    return np.concatenate([np.array(heads, np.int64), *lists, wanted]).astype(np.int64)


def decode_plan(numbers: NDArray[np.int64]) -> StepPlan:
    """Decode the output of `encode_plan`.

    Raises
    ------
    WorkerError
        If the lengths are inconsistent.
    """
    at = 0

    def take(count: int) -> NDArray[np.int64]:
        nonlocal at
        if not 0 <= count <= len(numbers) - at:
            raise WorkerError(f"a step's plan of {len(numbers)} numbers needs {count} more at position {at}")
        at += count
        return numbers[at - count : at]

    count, wanted, as_float = take(_COUNTS).tolist()
    heads = take(count * _FIELDS).reshape(count, _FIELDS).tolist()
    chunks = []
    for position, tokens, pages, parents, is_tree, adapter in heads:
        lists = [take(size).astype(np.int32) for size in (tokens, pages, parents)]
        chunks.append(SequenceChunk(position, lists[0], lists[1], lists[2] if is_tree else None, adapter=adapter))
    plan = StepPlan(chunks, take(wanted).copy(), bool(as_float))
    if at != len(numbers):
        raise WorkerError(f"a step's plan has {len(numbers) - at} surplus numbers")
    return plan
