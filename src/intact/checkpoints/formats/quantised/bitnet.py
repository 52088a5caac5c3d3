"""BitNet files: 2-bit ternary weights with one scale per matrix, or floats that are made ternary when read.

Source: Transformers' integrations/bitnet.py, of Microsoft's BitNet b1.58 2B4T: `BitLinear` divides by the scale,
`AutoBitLinear` multiplies by it.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.floats import SCALES
from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.integers import Affine, affine_matrix
from intact.checkpoints.formats.quantised.parts import Floats, MatrixParts
from intact.checkpoints.formats.tensor import Tensor

FLOATS: Final = ("F32", "F16", "BF16")
_BITS: Final = 2
_TO_CODES: Final = 2
"""Offset added to -1, 0 and 1: the middle code of 2 bits represents 0."""
_PROJECTION: Final = re.compile(r"(.+\.layers\.\d+\..+_proj)\.weight")
_LEAST_SCALE: Final = 1e-5


class BitNetFiles(QuantisedForm):
    """Codes are kept; the scale is rounded like other scales. Inputs are quantised by the profile, not as in BitNet."""

    methods = ("bitnet",)
    marks = (".weight_scale",)
    ends = (".weight",)

    def __init__(self, settings: Metadata) -> None:
        super().__init__(settings)
        settings.refuse_features({"use_rms_norm": (False,)})
        multiplies = settings.choice("linear_class", ("bitlinear", "autobitlinear")) == "autobitlinear"
        self.online = settings.choice("quantization_mode", ("offline", "online")) == "online" and multiplies
        self.power = 1 if multiplies else -1
        if self.online:
            self.marks = (".weight",)  # type: ignore[misc]  # of projections, whose floats become ternary here

    def split(self, name: str) -> tuple[str, str] | None:
        """Return the stem and suffix of a part's name; for floats, only of projections in layers."""
        if not self.online:
            return super().split(name)
        match = _PROJECTION.fullmatch(name)
        return (match[1], ".weight") if match else None

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return a 2-bit integer weight."""
        return self._rounded(parts) if self.online else self._packed(parts)

    def _packed(self, parts: MatrixParts) -> Tensor:
        """Return a file's codes, packed as four quarters of the rows in each byte, with their scale."""
        packed, columns = parts.part(".weight", ("U8",), (None, None)).shape
        if parts.part(".weight_scale", SCALES).shape not in ((), (1,)):
            parts.fail(".weight_scale", f"has shape {parts.found['.weight_scale'].shape}; expected one number")

        def read() -> Affine:
            stored = parts.found[".weight"].data.reshape(packed, columns)
            codes = np.concatenate([stored >> shift & 3 for shift in range(0, 8, 2)])
            if (codes == 3).any():
                parts.fail(".weight", "has a code of 3; expected 0, 1 and 2 for -1, 0 and 1")
            scale = float(parts.floats(".weight_scale").reshape(()) ** self.power)
            return _ternary(codes.astype(np.int8) - 1, scale)

        return affine_matrix(parts, (4 * packed, columns), _BITS, np.zeros(columns, np.int64), read=read)

    def _rounded(self, parts: MatrixParts) -> Tensor:
        """Return floats rounded to -1, 0 and 1 times the mean of their magnitudes, as in `AutoBitLinear`."""
        return ternary_matrix(parts)


def mean_scale(weights: Floats) -> np.float32:
    """Return the scale for making floats ternary: the mean of their magnitudes, at least 10^-5."""
    return max(np.float32(np.abs(weights).mean()), np.float32(_LEAST_SCALE))


def ternary_matrix(parts: MatrixParts) -> Tensor:
    """Return the floats of the part `.weight` rounded to -1, 0 and 1 times `mean_scale`, as a 2-bit integer weight.

    Raises
    ------
    FormatError
        If they are not a matrix of floats.
    """
    rows, columns = parts.part(".weight", FLOATS, (None, None)).shape

    def read() -> Affine:
        weights = parts.floats(".weight")
        scale = mean_scale(weights)
        return _ternary(np.clip(np.rint(weights * (np.float32(1) / scale)), -1, 1), float(scale))

    return affine_matrix(parts, (rows, columns), _BITS, np.zeros(columns, np.int64), read=read)


def _ternary(values: np.ndarray, scale: float) -> Affine:
    """Return values -1, 0 and 1 as codes, with one scale for all rows."""
    return Affine((values + _TO_CODES).astype(np.uint8), np.full((len(values), 1), scale, np.float64))
