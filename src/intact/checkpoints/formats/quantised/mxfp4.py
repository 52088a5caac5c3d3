"""MXFP4 folders, such as gpt-oss: blocks of 32 4-bit floats (E2M1) that share a power of two.

Source: OCP Microscaling 1.0; the layout of Transformers' `Mxfp4HfQuantizer`: two adjacent values per byte, the first in
the low half. The result is a tensor in the weight format MXFP4, whose bytes hold values 16 apart: nothing is rounded.
"""

from __future__ import annotations

from math import prod

import numpy as np

from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.packing import unpack_nibbles
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.tensor import Tensor
from intact.numerics.weight_formats import Bytes


class Mxfp4Files(QuantisedForm):
    """Single matrices, or stacks such as the experts of a layer."""

    methods = ("mxfp4",)
    marks = ("_blocks",)
    ends = ("_scales",)
    result = ""

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return a tensor in the weight format MXFP4."""
        shape = parts.part("_blocks", ("U8",)).shape
        if len(shape) < 3 or shape[-1] != 16 or not prod(shape):
            parts.fail("_blocks", f"has shape {shape}; expected (..., outputs, blocks, 16)")
        parts.part("_scales", ("U8", "F8_E8M0"), shape[:-1])
        return mxfp4_tensor(parts, "_blocks", "_scales", (*shape[:-2], shape[-2] * 32))


def mxfp4_tensor(parts: MatrixParts, blocks: str, scales: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor in the weight format MXFP4 from packed codes and the exponents of their blocks."""

    def make() -> Bytes:
        codes = unpack_nibbles(parts.found[blocks].data.reshape(-1, 16), low_first=True)
        packed = codes[:, :16] | codes[:, 16:] << np.uint8(4)
        return np.concatenate([parts.found[scales].data.reshape(-1, 1), packed], axis=1).reshape(-1)

    return parts.convert("MXFP4", shape, make)
