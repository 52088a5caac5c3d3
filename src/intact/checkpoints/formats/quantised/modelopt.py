"""ModelOpt files (NVIDIA): NVFP4, i.e. 4-bit floats in blocks of 16 with two levels of scales, and FP8.

Source: ModelOpt's NVFP4QTensor: an element is E2M1 * weight_scale * weight_scale_2, two adjacent values per byte, the
first in the low half.
"""

from __future__ import annotations

from collections.abc import Callable

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.fp8 import fp8_matrix
from intact.checkpoints.formats.quantised.integers import level_bytes
from intact.checkpoints.formats.quantised.packing import unpack_nibbles
from intact.checkpoints.formats.quantised.parts import Floats, MatrixParts
from intact.checkpoints.formats.tensor import Tensor
from intact.numerics.grids import GRIDS
from intact.numerics.integers import INTEGER
from intact.numerics.weight_formats import Bytes
from intact.numerics.weight_formats.mxfp4 import DOUBLED

BLOCK = 16


class ModelOptFiles(QuantisedForm):
    """NVFP4 becomes integer weights with the same codes; FP8 becomes float32."""

    methods = ("modelopt", "modelopt_fp4", "modelopt_fp8")
    marks = (".weight_scale",)
    ends = (".weight", ".weight_scale_2")
    unused = (".input_scale", ".k_scale", ".v_scale")

    def __init__(self, settings: Metadata) -> None:
        super().__init__(settings)
        settings.choice("quant_algo", ("NVFP4", "FP8"))
        if settings.get("group_size") is not None:
            settings.integer("group_size", least=BLOCK, most=BLOCK)

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return an integer weight, or float32."""
        if parts.part(".weight", ("U8", "F8_E4M3")).kind == "F8_E4M3":
            return fp8_matrix(parts, ".weight_scale", None)
        parts.part(".weight_scale_2", ("F32",))

        def scales() -> Floats:
            return parts.floats(".weight_scale") * one_number(parts, ".weight_scale_2")

        return nvfp4_matrix(parts, ".weight", scales)


def one_number(parts: MatrixParts, end: str) -> float:
    """Return the only number of a part, which must not be 0."""
    values = parts.floats(end).reshape(-1)
    if len(values) != 1 or not values[0]:
        parts.fail(end, f"has {len(values)} numbers, starting with {values[:1]}; expected a single non-zero number")
    return float(values[0])


def nvfp4_matrix(parts: MatrixParts, codes: str, scales: Callable[[], Floats]) -> Tensor:
    """Return an integer weight from packed E2M1 codes; `scales` returns one number per block."""
    rows, half = parts.part(codes, ("U8",), (None, None)).shape
    if half * 2 % BLOCK:
        parts.fail(codes, f"has rows of {half * 2} values; expected a multiple of {BLOCK}")
    parts.part(".weight_scale", ("F8_E4M3",), (rows, half * 2 // BLOCK))

    def make() -> Bytes:
        numbers = unpack_nibbles(parts.found[codes].data.reshape(rows, half), low_first=True)
        return level_bytes(numbers, DOUBLED, GRIDS["e2m1"].layout(BLOCK), scales() / 2)

    return parts.convert(INTEGER, (rows, half * 2), make)
