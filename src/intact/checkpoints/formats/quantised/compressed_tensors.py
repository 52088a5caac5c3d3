"""compressed-tensors files (llm-compressor): integers, packed or as bytes, FP8, NVFP4 and MXFP4.

Source: the compressors of vllm-project/compressed-tensors. A matrix's compressor and group size are derived from its
tensors, so layers of one file may differ.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.floats import SCALES
from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.fp8 import fp8_matrix, read_block
from intact.checkpoints.formats.quantised.integers import Affine, affine_matrix
from intact.checkpoints.formats.quantised.modelopt import nvfp4_matrix, one_number
from intact.checkpoints.formats.quantised.mxfp4 import mxfp4_tensor
from intact.checkpoints.formats.quantised.packing import unpack_words
from intact.checkpoints.formats.quantised.parts import Floats, Int, MatrixParts
from intact.checkpoints.formats.tensor import Tensor

BITS: Final = (4, 8)
FORMATS: Final = ("pack-quantized", "int-quantized", "naive-quantized", "float-quantized", "mixed-precision",
                  "nvfp4-pack-quantized", "mxfp4-pack-quantized")  # fmt: skip


class CompressedTensorsFiles(QuantisedForm):
    """Integers and NVFP4 become integer weights with the same codes, MXFP4 the weight format MXFP4, and FP8 float32."""

    methods = ("compressed-tensors",)
    marks = (".weight_scale",)
    ends = (".weight", ".weight_packed", ".weight_shape", ".weight_zero_point", ".weight_g_idx", ".weight_global_scale")
    unused = (".input_scale", ".input_global_scale", ".input_zero_point", ".output_scale", ".k_scale", ".v_scale")

    def __init__(self, settings: Metadata) -> None:
        super().__init__(settings)
        settings.choice("format", FORMATS)
        for key in ("sparsity_config", "transform_config"):
            if settings.mapping(key):
                settings.fail(key, "is not supported; expected a model without it")
        self.block: tuple[int, int] | None = None
        groups = settings.mapping("config_groups")
        if not groups:
            settings.refuse("config_groups", "an object with at least one group", settings.get("config_groups"))
        for name in groups:
            group = settings.within("config_groups", "config_groups: ").within(name, f"config_groups: {name}: ")
            self._check(group.within("weights", f"config_groups: {name}: weights: "))

    def _check(self, weights: Metadata) -> None:
        """Validate the weight settings of a group; they are empty if only its activations are quantised."""
        if not weights.values:
            return
        weights.choice("type", ("int", "float"))
        if weights.integer("num_bits") not in BITS:
            weights.refuse("num_bits", " or ".join(map(str, BITS)), weights.get("num_bits"))
        if weights.get("strategy") == "block":
            self.block = read_block(weights, "block_structure")

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return an integer weight, or one of the other kinds listed for the class."""
        if ".weight_packed" in parts:
            if parts.part(".weight_packed", ("I32", "U8")).kind == "I32":
                return self._packed(parts)
            _check_floats(parts)
            return _nvfp4(parts) if ".weight_global_scale" in parts else _mxfp4(parts)
        if parts.part(".weight", ("I8", "F8_E4M3")).kind == "I8":
            return self._plain(parts)
        _check_floats(parts)
        return fp8_matrix(parts, ".weight_scale", self._block_of(parts))

    def _block_of(self, parts: MatrixParts) -> tuple[int, int] | None:
        """Return the block size of FP8; None if there is one scale for the whole matrix or one per output."""
        shape = parts.part(".weight_scale", SCALES).shape
        return self.block if len(shape) == 2 and (shape[1] > 1 or shape == (1, 1)) else None

    def _packed(self, parts: MatrixParts) -> Tensor:
        """Return a matrix with codes packed into words along the inputs and zeros along the outputs."""
        rows, words = parts.part(".weight_packed", ("I32",), (None, None)).shape
        parts.part(".weight_shape", ("I64", "I32"), (2,))
        stated, columns = parts.integers(".weight_shape").tolist()
        bits = next((bits for bits in BITS if -(-columns * bits // 32) == words), None)
        if stated != rows or bits is None:
            parts.fail(".weight_packed", f"has shape {(rows, words)} for a matrix of {stated} x {columns}; "
f"expected {stated} rows with {' or '.join(map(str, BITS))} bits per input")  # fmt: skip
        places, groups = _groups(parts, rows, columns)
        if ".weight_zero_point" in parts:
            parts.part(".weight_zero_point", ("I32",), (-(-rows * bits // 32), groups))

        def read() -> Affine:
            codes = unpack_words(parts.found[".weight_packed"].data.reshape(rows, -1), bits)[:, :columns]
            zeros = None
            if ".weight_zero_point" in parts:
                packed = parts.found[".weight_zero_point"].data.reshape(-1, groups, 4).swapaxes(0, 1)
                unpacked = unpack_words(np.ascontiguousarray(packed).reshape(groups, -1), bits)
                zeros = unpacked[:, :rows].T.astype(np.int64)
            return Affine(codes, _scales(parts, rows), zeros)

        return affine_matrix(parts, (rows, columns), bits, places, read=read)

    def _plain(self, parts: MatrixParts) -> Tensor:
        """Return a matrix with signed bytes as codes."""
        rows, columns = parts.part(".weight", ("I8",), (None, None)).shape
        places, groups = _groups(parts, rows, columns)
        if ".weight_zero_point" in parts:
            parts.part(".weight_zero_point", ("I8",), parts.found[".weight_scale"].shape)

        def read() -> Affine:
            codes = parts.found[".weight"].data.reshape(rows, columns) ^ np.uint8(128)
            zeros = None
            if ".weight_zero_point" in parts:
                zeros = np.broadcast_to(parts.integers(".weight_zero_point").reshape(-1, groups) + 128, (rows, groups))
            return Affine(codes, _scales(parts, rows), zeros)

        return affine_matrix(parts, (rows, columns), 8, places, read=read)


def _check_floats(parts: MatrixParts) -> None:
    """Raise if a float matrix has zero points or an input order; no such files are known."""
    for end in (".weight_zero_point", ".weight_g_idx"):
        if end in parts and parts.found[end].data.any():
            parts.fail(end, "has values other than 0; expected none in a float matrix")


def _groups(parts: MatrixParts, rows: int, columns: int) -> tuple[Int, int]:
    """Return the group of each input and the number of groups, which is one for a scale per matrix or per output."""
    shape = parts.part(".weight_scale", SCALES).shape
    if shape in ((), (1,), (1, 1)):
        return np.zeros(columns, np.int64), 1
    groups = parts.part(".weight_scale", SCALES, (rows, None)).shape[1]
    if ".weight_g_idx" in parts:
        parts.part(".weight_g_idx", ("I32", "I64"), (columns,))
        places = parts.integers(".weight_g_idx")
        if not 0 <= places.min() <= places.max() < groups:
            parts.fail(".weight_g_idx", f"has groups from {places.min()} to {places.max()}; expected 0 to {groups - 1}")
        return places, groups
    if columns % groups:
        parts.fail(".weight_scale", f"has {groups} groups for {columns} inputs; expected groups of equal size")
    return np.arange(columns) // (columns // groups), groups


def _scales(parts: MatrixParts, rows: int) -> Floats:
    scale = parts.floats(".weight_scale")
    return np.broadcast_to(scale.reshape(1, 1), (rows, 1)) if scale.size == 1 else scale


def _nvfp4(parts: MatrixParts) -> Tensor:
    """Return an NVFP4 matrix, whose matrix-wide scale is a divisor."""
    parts.part(".weight_global_scale", ("F32",))
    return nvfp4_matrix(
        parts, ".weight_packed", lambda: parts.floats(".weight_scale") / one_number(parts, ".weight_global_scale")
    )


def _mxfp4(parts: MatrixParts) -> Tensor:
    rows, half = parts.part(".weight_packed", ("U8",), (None, None)).shape
    if half % 16:
        parts.fail(".weight_packed", f"has rows of {half * 2} values; expected a multiple of 32")
    parts.part(".weight_scale", ("U8", "F8_E8M0"), (rows, half // 16))
    return mxfp4_tensor(parts, ".weight_packed", ".weight_scale", (rows, half * 2))
