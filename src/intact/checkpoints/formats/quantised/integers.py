"""Conversion of codes with scales to integer weights or, if these cannot represent them, to float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from intact.checkpoints.formats.quantised.parts import Floats, Int, MatrixParts
from intact.checkpoints.formats.tensor import Tensor
from intact.numerics.grids import Layout
from intact.numerics.integers import INTEGER, shift_of, to_bytes
from intact.numerics.weight_formats import Bytes
from intact.numerics.weights import BlockWeight

SCALE_MAX: Final = 32767
BLOCKS: Final = {8: (32,), 4: (32,), 3: (16,), 2: (32, 16)}
"""Sizes of the blocks into which a group is divided, by number of bits. With other sizes, results would differ."""


class Affine(NamedTuple):
    """A matrix whose element (n, k) is (code - zero) * scale, with zero and scale of k's group."""

    codes: Bytes
    """(N, K), unsigned."""
    scale: Floats
    """(N, groups)."""
    zero: Int | None = None
    """(N, groups); None if all zeros are the middle code."""


def affine_matrix(
    parts: MatrixParts, shape: tuple[int, int], bits: int, groups: Int, read: Callable[[], Affine]
) -> Tensor:
    """Return a matrix of codes with `bits` bits.

    If the inputs of each group are consecutive and form whole blocks, it is an integer weight with the same codes; its
    scales are rounded by `round_scales`, as are its minima unless every zero is the middle code. Otherwise it is
    float32.

    Parameters
    ----------
    groups : int64 (K,)
        Group of each input.
    read : callable
        Returns the matrix.
    """
    found = ((block, groups_of_blocks(groups, block)) for block in BLOCKS[bits])
    block, places = next(((block, places) for block, places in found if places is not None), (0, None))
    if places is None:
        return parts.convert("F32", shape, lambda: _float_bytes(read(), bits, groups))
    return parts.convert(INTEGER, shape, lambda: _integer_bytes(read(), bits, block, places))


def groups_of_blocks(groups: Int, block: int) -> Int | None:
    """Return the group of each block of a row padded to a multiple of 32; None if a block spans several groups."""
    blocks = np.pad(groups, (0, -len(groups) % 32), mode="edge").reshape(-1, block)
    return blocks[:, 0] if (blocks == blocks[:, :1]).all() else None


def _integer_bytes(matrix: Affine, bits: int, block: int, places: Int) -> Bytes:
    middle = 1 << (bits - 1)
    scale, minimum = matrix.scale[:, places], None
    if matrix.zero is not None and (matrix.zero != middle).any():
        minimum = (middle - matrix.zero)[:, places] * scale
    return _to_bytes(matrix.codes, (bits, block, middle), None, scale, minimum=minimum)


def _float_bytes(matrix: Affine, bits: int, groups: Int) -> Bytes:
    """Return the products in float32, rounded once; with float16 or bfloat16 scales they are exact."""
    zero = np.int64(1 << (bits - 1)) if matrix.zero is None else matrix.zero[:, groups]
    steps = (matrix.codes.astype(np.int16) - zero).astype(np.float32)
    return (steps * matrix.scale.astype(np.float32)[:, groups]).astype("<f4").reshape(-1).view(np.uint8)


def level_bytes(codes: Bytes, levels: tuple[int, ...], layout: Layout, scale: Floats) -> Bytes:
    """Return an integer weight whose codes represent integers.

    Parameters
    ----------
    codes : uint8 (N, K)
    levels : the integer that each code stands for, in steps
    layout : layout of an integer weight that can represent these integers
    scale : float64 (N, ceil(K / block size))
    """
    if layout.table is None:
        table, own = None, [level + layout.zero for level in levels]
    else:
        table = np.array(layout.table, np.int16)
        own = [layout.table.index(level + layout.zero) for level in levels]
    new = np.array(own, np.uint8)[codes]
    return _to_bytes(
        new, (layout.bits, layout.block, layout.zero), table, scale, minimum=None, padding=layout.zero_code
    )


def _to_bytes(
    codes: Bytes, layout: tuple[int, int, int], table: npt.NDArray[np.int16] | None,
    scale: Floats, minimum: Floats | None, padding: int | None = None,
) -> Bytes:  # fmt: skip
    """Return an integer weight with the given layout (bits, block, zero); rows are padded with the code for 0."""
    bits, block, zero = layout
    rows, columns = codes.shape
    padded = np.full((rows, -(-columns // 32) * 32), zero if padding is None else padding, np.uint8)
    padded[:, :columns] = codes
    missing = ((0, 0), (0, padded.shape[1] // block - scale.shape[1]))
    whole, exponent = round_scales(np.pad(scale, missing))
    low, low_exponent = (None, None) if minimum is None else round_scales(np.pad(minimum, missing))
    shift = shift_of(bits, zero, table)
    return to_bytes(
        BlockWeight(
            padded,
            bits,
            block,
            zero,
            shift=shift,
            table=table,
            scale=whole,
            scale_exp=exponent,
            minimum=low,
            minimum_exp=low_exponent,
            columns=columns,
        )
    )


def round_scales(exact: Floats) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
    """Round rows of numbers to 16-bit integers with the smallest exponent that can hold the row's largest number.

    No error exceeds 2^-15 of the row's largest number; float16 numbers within a factor of 16 of it are exact.
    """
    largest = np.abs(exact).max(axis=1, initial=0)
    exponent = np.where(largest > 0, np.frexp(largest)[1] - 15, 0)
    exponent += np.floor(np.ldexp(largest, -exponent) + 0.5) > SCALE_MAX
    scale = np.floor(np.ldexp(exact, -exponent[:, None]) + 0.5)
    return scale.astype(np.int16), exponent.astype(np.int32)
