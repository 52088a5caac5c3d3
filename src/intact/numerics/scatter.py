"""Columns of rows copied to the heads of other rows, without rounding (docs/spec/numerics.md, section 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def scatter_index(
    target_width: int,
    heads: int,
    width: int,
    *,
    source_step: int,
    source_start: int,
    target_step: int,
    target_start: int,
) -> NDArray[np.int32]:
    """Return the source column of each target column, or -1 where nothing is copied: int32 (target_width,)."""
    index = np.full(target_width, -1, np.int32)
    head, column = np.arange(heads)[:, None], np.arange(width)
    index[head * target_step + target_start + column] = head * source_step + source_start + column
    return index


def scatter(source: NDArray[Any], index: NDArray[np.int32], kept: NDArray[Any] | None = None) -> NDArray[Any]:
    """Pick columns of the source by index, giving rows (M, len(index)); use `kept`, or 0, where the index is -1."""
    picked = source[:, np.maximum(index, 0)]
    return np.where(index < 0, 0 if kept is None else kept, picked)
