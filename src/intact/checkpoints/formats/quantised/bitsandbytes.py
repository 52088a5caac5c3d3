"""bitsandbytes files: NF4 and FP4 in blocks of the flattened matrix, absmax as floats or quantised again, and int8.

Source: bitsandbytes' functional.py (QuantState, get_4bit_type, dequantize_blockwise): two adjacent values per byte, the
first in the high half.
"""

from __future__ import annotations

from math import prod
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.integers import Affine, affine_matrix, level_bytes
from intact.checkpoints.formats.quantised.packing import unpack_nibbles
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.safetensors import parse_json
from intact.checkpoints.formats.tensor import Tensor
from intact.numerics.grids import FP4_SIZES, GRIDS, Layout
from intact.numerics.integers import INTEGER
from intact.numerics.weight_formats import Bytes

BLOCK: Final = 32


class _Type(NamedTuple):
    """A 4-bit type: the integers that its codes represent, in steps of a fraction of absmax."""

    levels: tuple[int, ...]
    layout: Layout

    @property
    def reach(self) -> int:
        """Number of steps from 0 to absmax."""
        return max(self.levels)


_TYPES: Final = {
    "nf4": _Type(GRIDS["nf4"].levels, GRIDS["nf4"].layout(BLOCK)),
    "fp4": _Type((*FP4_SIZES, *(-size for size in FP4_SIZES)), GRIDS["fp4"].layout(BLOCK)),
}
_STATE: Final = ".weight.quant_state.bitsandbytes__"


class BitsAndBytesFiles(QuantisedForm):
    """4-bit codes are kept; their levels become multiples of absmax / 127 (NF4) or absmax / 120 (FP4)."""

    methods = ("bitsandbytes",)
    marks = (*(_STATE + name for name in _TYPES), ".SCB")
    ends = (".weight", ".weight.absmax", ".weight.quant_map", ".weight.nested_absmax", ".weight.nested_quant_map",
            ".weight_format")  # fmt: skip

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return an integer weight."""
        for name, kind in _TYPES.items():
            if _STATE + name in parts:
                return _four_bits(parts, kind, _STATE + name)
        return _eight_bits(parts)


def _eight_bits(parts: MatrixParts) -> Tensor:
    """Return an LLM.int8() matrix: codes times SCB / 127, with one value of SCB per output."""
    rows, columns = parts.part(".weight", ("I8",), (None, None)).shape
    parts.part(".SCB", ("F32",), (rows,))

    def read() -> Affine:
        codes = parts.found[".weight"].data.reshape(rows, columns) ^ np.uint8(128)
        return Affine(codes, parts.floats(".SCB")[:, None] / 127)

    return affine_matrix(parts, (rows, columns), 8, np.zeros(columns, np.int64), read=read)


def _four_bits(parts: MatrixParts, kind: _Type, end: str) -> Tensor:
    state = _State(parts, end)
    rows, columns = state.shape
    packed = parts.part(".weight", tuple(_STORAGE))
    if packed.data.nbytes * 2 != rows * columns:
        parts.fail(".weight", f"has {packed.data.nbytes} bytes; expected {rows * columns // 2} for {rows} x {columns}")
    if columns % BLOCK or state.block % BLOCK:
        parts.fail(end, f"describes {rows} x {columns} in blocks of {state.block}; expected multiples of {BLOCK}")
    parts.part(".weight.quant_map", ("F32",), (16,))
    state.check_absmax()

    def make() -> Bytes:
        values = parts.floats(".weight.quant_map")
        if np.rint(values * kind.reach).tolist() != list(kind.levels):
            parts.fail(
                ".weight.quant_map",
                f"differs from the levels of {end.removeprefix(_STATE)}; found {values.round(4).tolist()}",
            )
        codes = unpack_nibbles(packed.data.reshape(rows, columns // 2), low_first=False)
        first = np.arange(rows * (columns // BLOCK)) * BLOCK  # first element of each block in the flattened matrix
        scale = state.absmax().astype(np.float64)[first // state.block].reshape(rows, -1) / kind.reach
        return level_bytes(codes, kind.levels, kind.layout, scale)

    return parts.convert(INTEGER, (rows, columns), make)


_STORAGE: Final = ("U8", "I8", "F16", "BF16", "F32")
"""Kinds in which bitsandbytes stores the packed bytes (bnb_4bit_quant_storage)."""


class _State:
    """The JSON description of a matrix's quantisation, and its absmax."""

    def __init__(self, parts: MatrixParts, end: str) -> None:
        self.parts, self.end = parts, end
        try:
            found = parse_json(parts.part(end, ("U8",)).data.tobytes(), parts.path, "the state")
            rows, columns = found["shape"]
            self.shape = int(rows), int(columns)
            self.block = int(found["blocksize"])
            self.nested = int(found["nested_blocksize"]) if "nested_blocksize" in found else None
            self.offset = np.float32(found.get("nested_offset", 0.0))
            if min(*self.shape, self.block, self.nested or 1) < 1 or not np.isfinite(self.offset):
                raise ValueError(f"{found}"[:80])
        except (ValueError, TypeError, KeyError) as error:
            parts.fail(end, f"cannot be read ({error!r:.80}); expected JSON with a matrix's shape and blocksize")

    def check_absmax(self) -> None:
        """Raise if any block lacks an absmax."""
        count = -(-prod(self.shape) // self.block)
        if self.nested is None:
            self.parts.part(".weight.absmax", ("F32",), (count,))
            return
        self.parts.part(".weight.absmax", ("U8",), (count,))
        self.parts.part(".weight.nested_absmax", ("F32",), (-(-count // self.nested),))
        self.parts.part(".weight.nested_quant_map", ("F32",), (256,))

    def absmax(self) -> npt.NDArray[np.float32]:
        """Return the absmax of each block, computed in float32 as in bitsandbytes: product, then sum."""
        if self.nested is None:
            return self.parts.floats(".weight.absmax").astype(np.float32)
        codes = self.parts.found[".weight.absmax"].data
        table = self.parts.floats(".weight.nested_quant_map").astype(np.float32)
        scale = self.parts.floats(".weight.nested_absmax").astype(np.float32)
        product: npt.NDArray[np.float32] = table[codes] * np.repeat(scale, self.nested)[: len(codes)]
        return product + self.offset
