"""FP8 files: 8-bit weights (E4M3) with one scale for the matrix, per output, or per block of 128 x 128.

Source: DeepSeek-V3's files, from which Transformers' and vLLM's "fp8" are derived: `weight_scale_inv` multiplies,
despite its name.
"""

from __future__ import annotations

import numpy as np

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.floats import SCALES, decode_floats
from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.tensor import Tensor
from intact.numerics.weight_formats import Bytes


class Fp8Files(QuantisedForm):
    """Products of weight and scale in float32, rounded once."""

    methods = ("fp8", "fbgemm_fp8")
    marks = (".weight_scale_inv", ".weight_scale")
    ends = (".weight",)
    unused = (".input_scale", ".activation_scale", ".k_scale", ".v_scale")

    def __init__(self, settings: Metadata) -> None:
        super().__init__(settings)
        self.block = read_block(settings, "weight_block_size")

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return a float32 matrix."""
        end = next(mark for mark in self.marks if mark in parts)
        return fp8_matrix(parts, end, self.block if end == ".weight_scale_inv" else None)


def read_block(settings: Metadata, key: str) -> tuple[int, int] | None:
    """Return the numbers of outputs and inputs per block that shares a scale; None if the settings specify none."""
    value = settings.get(key)
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(type(size) is int and size > 0 for size in value)):
        settings.refuse(key, "two sizes such as [128, 128]", value)
    return value[0], value[1]


def fp8_matrix(parts: MatrixParts, end: str, block: tuple[int, int] | None) -> Tensor:
    """Return a matrix of E4M3 values times scales, in float32.

    Parameters
    ----------
    end : str
        Name suffix of the scales: one scale, one per output or, with `block`, one per block; the last block may be
        partial.
    """
    rows, columns = parts.part(".weight", ("F8_E4M3",), (None, None)).shape
    scales = parts.part(end, SCALES)
    shapes = [(), (1,), (1, 1), (rows,), (rows, 1)]
    if block is not None:
        shapes = [(-(-rows // block[0]), -(-columns // block[1]))]
    if scales.shape not in shapes:
        parts.fail(end, f"has shape {scales.shape}; expected {' or '.join(map(str, dict.fromkeys(shapes)))}")

    def make() -> Bytes:
        scale = parts.floats(end).astype(np.float32)
        if block is None:
            scale = scale.reshape(-1, 1)
        else:
            scale = np.repeat(np.repeat(scale, block[0], axis=0)[:rows], block[1], axis=1)[:, :columns]
        weights = decode_floats(parts.found[".weight"])
        if np.isnan(weights).any():
            parts.fail(".weight", "has NaN; expected finite weights")
        return (weights * scale).astype("<f4").reshape(-1).view(np.uint8)

    return parts.convert("F32", (rows, columns), make)
