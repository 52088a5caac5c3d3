"""Integer weights as bytes: the exact stored form of a `BlockWeight` (docs/spec/numerics.md, section 1).

All numbers are little-endian. The header is nine int32: the letters ``INTW``, the version, N, K, bits, block, zero,
1 if there is a table, 1 if there are minima. The following arrays are stored without gaps: the table (int16, one entry
per code, at least 16), codes, scales (int16, N x blocks), scale exponents (int32, N), minima (int16, N x blocks),
minimum exponents (int32, N); table and minima only if they exist. Codes are stored row by row as bit planes, lowest
first: bit i of byte k of plane j is bit j of code 8 k + i. K is padded to the next multiple of 32 with codes for the
value 0.

The version is 1, or 2 if columns do not multiply the model's inputs in order; in that case, the number M of these
inputs (int32) and an index (int32, K) follow the header. Column k multiplies input index[k], from 0 to M - 1, or 0
where index[k] is -1; an input may have any number of columns.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.numerics.weight_formats import Bytes
from intact.numerics.weights import BlockWeight, InputIndex

INTEGER: Final = "INTEGER"
"""The kind of a tensor stored in this form."""
LAYOUTS: Final = {8: (32,), 6: (32, 16), 5: (32,), 4: (32, 16), 3: (32, 16), 2: (32, 16)}
"""Block sizes with a kernel, by number of bits; the only other copy of this list is in native/kernels/kernels.h."""
TABLED: Final = dict.fromkeys((8, 6, 5, 4, 3, 2), (32, 16))
"""Block sizes supported by kernels for codes with a table, by number of bits."""
LARGEST_ENTRY: Final = 32767
"""Largest table entry. Entries up to 255 need one product, larger ones need two, for their low and high bytes."""
EXPONENTS: Final = (-200, 120)
"""Bounds on the exponents; everything that block formats and floats can produce lies within them."""
_MAGIC: Final = b"INTW"
_HEADER: Final = struct.Struct("<4s8i")
_UNTABLED_SHIFT: Final = {8: 4, 6: 2, 5: 1, 4: 0, 3: 0, 2: 0}
_LARGEST_SUM: Final = 32512
MOST_INPUTS: Final = 32768
"""Maximum number of columns of a matrix, and inputs of a model, for which sums are known to stay within bounds."""


class IntegerHeader(NamedTuple):
    """The parsed header."""

    rows: int
    columns: int
    bits: int
    block: int
    zero: int
    has_table: bool
    has_minimum: bool
    inputs: int | None = None
    """Number of the model's inputs if the weight has an index; otherwise None."""

    @property
    def bits_per_weight(self) -> float:
        """Bits of codes and scales in memory per weight of the model's matrix."""
        stored = self.bits + 16 * (1 + self.has_minimum) / self.block
        return stored * self.columns / (self.inputs or self.columns)

    @property
    def index_bytes(self) -> int:
        """Size in bytes of the number of inputs and the index."""
        return 0 if self.inputs is None else 4 * (1 + self.columns)

    @property
    def padded(self) -> int:
        """K padded to a multiple of 32."""
        return -(-self.columns // 32) * 32

    @property
    def nbytes(self) -> int:
        """Size in bytes of the whole stored weight."""
        scales = self.rows * (self.padded // self.block * 2 + 4) * (1 + self.has_minimum)
        codes = self.rows * self.padded // 8 * self.bits
        return _HEADER.size + self.index_bytes + 2 * entries_of(self.bits) * self.has_table + codes + scales


def entries_of(bits: int) -> int:
    """Return the number of table entries for codes of this many bits."""
    return max(16, 1 << bits)


def starts_integers(data: Bytes) -> bool:
    """Return true if the bytes start like an integer weight."""
    return data[: len(_MAGIC)].tobytes() == _MAGIC


def shift_of(bits: int, zero: int, table: NDArray[np.int16] | None) -> int:
    """Return r of docs/spec/numerics.md, section 1: the right shift that rounds a block's sum of products.

    Raises
    ------
    ModelError
        If the sums of a group of blocks (docs/spec/numerics.md, section 4) could exceed 32 bits: the sums of 32 inputs,
        in one block or two, must not exceed 32512.
    """
    values = np.arange(1 << bits) if table is None else table.astype(np.int64)
    most = 32 * int(np.abs(values - zero).max()) * 127
    shift = _UNTABLED_SHIFT[bits] if table is None else max(0, (most - 1).bit_length() - 15)
    while table is not None and most + (1 << shift >> 1) >> shift > _LARGEST_SUM:
        shift += 1
    if most + (1 << shift >> 1) >> shift > _LARGEST_SUM:
        raise ModelError(f"{bits}-bit codes about a zero of {zero}: a value lies too far from it")
    return shift


def read_header(data: Bytes) -> IntegerHeader:
    """Parse the header and check it, including the number of bytes.

    Raises
    ------
    ModelError
        If the bytes are not an integer weight, have a different version, or describe an impossible weight.
    """
    if data.size < _HEADER.size or not starts_integers(data):
        raise ModelError(f"{data.size} bytes that begin {data[:4].tobytes()!r}: an integer weight begins {_MAGIC!r}")
    _, version, rows, columns, bits, block, zero, table, minimum = _HEADER.unpack(data[: _HEADER.size].tobytes())
    if version not in (1, 2):
        raise ModelError(f"version {version} of integer weights: this program reads versions 1 and 2")
    layouts = TABLED if table else LAYOUTS
    if rows < 1 or columns < 1 or block not in layouts.get(bits, ()) or {table, minimum} - {0, 1}:
        raise ModelError(
            f"an integer weight of {rows} x {columns}, {bits} bits, blocks of {block}{' with a table' * bool(table)}: "
            "expected one of "
            + ", ".join(f"{b} bits in blocks of {n}" for b, blocks in layouts.items() for n in blocks)
        )
    most = LARGEST_ENTRY if table else 255
    if not 0 <= zero <= most:
        raise ModelError(f"an integer weight of {bits} bits with a zero of {zero}: expected 0 to {most}")
    inputs = None
    if version == 2:
        after = data[_HEADER.size : _HEADER.size + 4].tobytes()
        inputs = int.from_bytes(after, "little", signed=True)
        if len(after) < 4 or not 1 <= inputs <= MOST_INPUTS:
            raise ModelError(f"an index of {inputs} inputs: expected 1 to {MOST_INPUTS}")
    header = IntegerHeader(rows, columns, bits, block, zero, bool(table), bool(minimum), inputs)
    if data.size != header.nbytes:
        raise ModelError(f"{data.size} bytes of an integer weight of {rows} x {columns}: expected {header.nbytes}")
    return header


def read_inputs(data: Bytes) -> InputIndex | None:
    """Return the inputs that a stored weight's columns multiply; None if column k multiplies input k.

    Raises
    ------
    ModelError
        If the bytes are not an integer weight, or the index names an input that does not exist.
    """
    header = read_header(data)
    if header.inputs is None:
        return None
    index = data[_HEADER.size + 4 : _HEADER.size + header.index_bytes].view("<i4").astype(np.int32)
    if not -1 <= int(index.min()) <= int(index.max()) < header.inputs:
        raise ModelError(f"an index from {index.min()} to {index.max()}: expected -1 to {header.inputs - 1}")
    return InputIndex(index, header.inputs)


def slice_rows(data: Bytes, start: int, stop: int) -> Bytes:
    """Return outputs `start` to `stop` - 1 of a stored weight, again as a stored weight.

    Raises
    ------
    ModelError
        If the bytes are not an integer weight.
    """
    header = read_header(data)
    before = _HEADER.size + header.index_bytes + 2 * entries_of(header.bits) * header.has_table
    head = data[:before].copy()
    head[8:12] = np.array([stop - start], "<i4").view(np.uint8)
    scales = [header.padded // header.block * 2, 4]  # bytes of an output
    parts, at = [head], before
    for size in [header.padded // 8 * header.bits, *scales, *(scales if header.has_minimum else [])]:
        parts.append(data[at + start * size : at + stop * size])
        at += header.rows * size
    return np.concatenate(parts)


def to_bytes(weight: BlockWeight) -> Bytes:
    """Serialise a weight; the inverse of `from_bytes`."""
    has_table, has_minimum = weight.table is not None, weight.minimum is not None
    fields = (len(weight.codes), weight.columns, weight.bits, weight.block, weight.zero, has_table, has_minimum)
    planes = weight.codes[:, None, :] >> np.arange(weight.bits, dtype=np.uint8)[:, None] & np.uint8(1)
    parts: list[NDArray[np.integer]] = [np.packbits(planes, axis=-1, bitorder="little"), weight.scale, weight.scale_exp]
    if weight.table is not None:
        parts.insert(0, weight.table)
    if weight.inputs is not None:
        parts = [np.array([weight.inputs.count], np.int32), weight.inputs.index, *parts]
    if weight.minimum is not None and weight.minimum_exp is not None:
        parts += [weight.minimum, weight.minimum_exp]
    data = _HEADER.pack(_MAGIC, 1 if weight.inputs is None else 2, *fields) + b"".join(
        p.astype(p.dtype.newbyteorder("<")).tobytes() for p in parts
    )
    return np.frombuffer(data, np.uint8)


def from_bytes(data: Bytes) -> BlockWeight:
    """Parse an integer weight.

    Raises
    ------
    ModelError
        If the bytes are not an integer weight, or hold a value out of bounds.
    """
    header, inputs = read_header(data), read_inputs(data)
    at = _HEADER.size + header.index_bytes

    def take(dtype: str, *shape: int) -> NDArray[Any]:
        nonlocal at
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        part, at = data[at : at + size].view(dtype).reshape(shape), at + size
        return part

    table = take("<i2", entries_of(header.bits)).astype(np.int16) if header.has_table else None
    if table is not None and int(table.min()) < 0:
        raise ModelError(f"a table with entries from {table.min()} to {table.max()}: expected 0 to {LARGEST_ENTRY}")
    planes = np.unpackbits(
        take("u1", header.rows, header.bits, header.padded // 8).astype(np.uint8), axis=-1, bitorder="little"
    )
    codes = np.zeros((header.rows, header.padded), np.uint8)
    for j in range(header.bits):
        codes |= planes[:, j] << np.uint8(j)

    def scales() -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        scale = take("<i2", header.rows, header.padded // header.block).astype(np.int16)
        exponent = take("<i4", header.rows).astype(np.int32)
        least, most = EXPONENTS
        if not least <= int(exponent.min()) <= int(exponent.max()) <= most:
            raise ModelError(f"exponents from {exponent.min()} to {exponent.max()}: expected {least} to {most}")
        return scale, exponent

    scale, scale_exp = scales()
    minimum, minimum_exp = scales() if header.has_minimum else (None, None)
    shift = shift_of(header.bits, header.zero, table)
    return BlockWeight(
        codes, header.bits, header.block, header.zero, shift, table,
        scale, scale_exp, minimum, minimum_exp, header.columns, inputs,
    )  # fmt: skip
