"""Levels and scales to an integer weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.numerics.integers import shift_of
from intact.numerics.weights import BlockWeight
from intact.quantizers.fixed import FRACTION, Floats, Int
from intact.quantizers.spec import Spec


def assemble(
    spec: Spec, columns: int, levels: Floats, scales: tuple[Int, Int], exponent: Int, offsets: tuple[Int, Int] | None
) -> BlockWeight:
    """Return the weight of levels, float64 (N, K padded), with scales and exponents of each row.

    Parameters
    ----------
    scales : int64 (N, blocks) and (N,)
        Of the spec's blocks: steps are scale * 2^t.
    exponent : int64 (N,)
        Of `FixedRows`.
    offsets : int64 (N, blocks) and (N,), optional
        What is added to all values of a block, likewise.
    """
    grid, layout = spec.levels, spec.layout(columns)
    table = None if layout.table is None else np.array(layout.table, np.int16)
    codes = layout.codes(levels.astype(np.int64), grid)
    codes[:, columns:] = layout.zero_code
    repeat = spec.width(columns) // layout.block

    def numbers(of: tuple[Int, Int]) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        return np.repeat(of[0], repeat, axis=1).astype(np.int16), (of[1] + exponent - FRACTION).astype(np.int32)

    minimum, minimum_exp = (None, None) if offsets is None else numbers(offsets)
    shift = shift_of(layout.bits, layout.block, layout.zero, table)
    return BlockWeight(
        codes, layout.bits, layout.block, layout.zero, shift, table,
        *numbers(scales), minimum, minimum_exp, columns,
    )  # fmt: skip
