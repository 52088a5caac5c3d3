"""Columns of rows copied to the heads of other rows; nothing is rounded (docs/numerics.md, section 9)."""

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
    """Return for each column of the target that of the source, or -1 where nothing is copied: int32 (target_width,)."""
    index = np.full(target_width, -1, np.int32)
    head, column = np.arange(heads)[:, None], np.arange(width)
    index[head * target_step + target_start + column] = head * source_step + source_start + column
    return index


def scatter(source: NDArray[Any], index: NDArray[np.int32], kept: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return rows (M, len(index)) of the source's columns by index; where it is -1 those of `kept`, or 0."""
    picked = source[:, np.maximum(index, 0)]
    return np.where(index < 0, 0 if kept is None else kept, picked)
