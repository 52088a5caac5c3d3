"""Assemble levels and scales into an integer weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.encode import BlockScales, encode
from intact.numerics.integers import MOST_INPUTS, shift_of
from intact.numerics.weights import BlockWeight, InputIndex, from_blocks
from intact.quantizing.quantizers.base import QuantizedMatrix
from intact.quantizing.quantizers.fixed import FRACTION, Floats, Int
from intact.quantizing.quantizers.spec import Spec


def segments(parts: Sequence[NDArray[np.int64]], count: int) -> InputIndex:
    """Return the index of parts placed side by side, each padded to a multiple of 32 columns.

    Parameters
    ----------
    parts : the inputs multiplied by the columns of each part
    count : the number of the model's inputs

    Raises
    ------
    ParameterError
        If they have more columns than a product can have.
    """
    padded = [np.pad(part, (0, -len(part) % 32), constant_values=-1) for part in parts]
    index = np.concatenate(padded).astype(np.int32)
    if len(index) > MOST_INPUTS:
        raise ParameterError(
            f"planes have {len(index)} columns for {count} inputs; products support at most {MOST_INPUTS}"
        )
    return InputIndex(index, count)


def assemble(
    spec: Spec,
    columns: int,
    levels: Floats,
    scales: tuple[Int, Int],
    exponent: Int,
    offsets: tuple[Int, Int] | None,
    inputs: InputIndex | None = None,
) -> BlockWeight:
    """Assemble a weight from levels, float64 (N, K padded), with scales and exponents of each row.

    Parameters
    ----------
    scales : int64 (N, blocks) and (N,)
        Scales and exponents t of equally wide blocks, the spec's or the layout's: steps are scale * 2^t.
    exponent : int64 (N,)
        As in `FixedRows`.
    offsets : int64 (N, blocks) and (N,), optional
        Offsets added to all values of a block, in the same form.
    inputs : InputIndex, optional
        The index of several planes; `levels` and `scales` then have the index's columns, while `columns` counts the
        model's.
    """
    grid, layout = spec.levels, spec.layout(columns)
    table = None if layout.table is None else np.array(layout.table, np.int16)
    own = columns if inputs is None else len(inputs.index)
    codes = layout.codes(levels.astype(np.int64), grid)
    if own < codes.shape[1]:
        codes[:, own:] = layout.zero_code
    if inputs is not None:
        codes[:, inputs.index < 0] = layout.zero_code
    repeat = codes.shape[1] // layout.block // scales[0].shape[1]

    def numbers(of: tuple[Int, Int]) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        return np.repeat(of[0], repeat, axis=1).astype(np.int16), (of[1] + exponent - FRACTION).astype(np.int32)

    minimum, minimum_exp = (None, None) if offsets is None else numbers(offsets)
    shift = shift_of(layout.bits, layout.zero, table)
    scale, scale_exp = numbers(scales)
    return BlockWeight(
        codes,
        bits=layout.bits,
        block=layout.block,
        zero=layout.zero,
        shift=shift,
        table=table,
        scale=scale,
        scale_exp=scale_exp,
        minimum=minimum,
        minimum_exp=minimum_exp,
        columns=own,
        inputs=inputs,
    )


def assemble_blocks(
    spec: Spec, columns: int, levels: Floats, scales: BlockScales, proxy: float | None = None
) -> QuantizedMatrix:
    """Assemble a matrix of levels, float64 (N, K), as blocks of the spec's GGUF type."""
    kind = spec.block_type
    assert kind is not None
    ascending = np.searchsorted(np.array(spec.levels.levels), levels[:, :columns].astype(np.int64))
    codes = kind.codes(spec.levels.levels)[ascending]
    data = encode(kind.name, codes, scales)
    return QuantizedMatrix(from_blocks(kind.name, data, (len(codes), columns)), proxy, data)
