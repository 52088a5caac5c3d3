"""AWQ files (AutoAWQ, version "gemm"): 4-bit codes and zeros, packed along the outputs in a special order.

Source: AutoAWQ's WQLinear_GEMM: the nibbles of a word, lowest first, are its outputs 0, 2, 4, 6, 1, 3, 5, 7.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.floats import SCALES
from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.integers import Affine, affine_matrix
from intact.checkpoints.formats.quantised.packing import unpack_words
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.tensor import Tensor
from intact.numerics.weight_formats import Bytes

ORDER: Final = (0, 2, 4, 6, 1, 3, 5, 7)
BITS: Final = 4


class AwqFiles(QuantisedForm):
    """4 bits with zeros, in groups of consecutive inputs."""

    methods = ("awq",)
    marks = (".qweight",)
    ends = (".qzeros", ".scales")

    def __init__(self, settings: Metadata) -> None:
        super().__init__(settings)
        key = "w_bit" if settings.get("bits") is None else "bits"
        settings.integer(key, least=BITS, most=BITS)
        settings.choice("version", ("gemm", "GEMM"))
        if not settings.flag("zero_point", True):
            settings.refuse("zero_point", "true", False)

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return an integer weight."""
        columns, words = parts.part(".qweight", ("I32",), (None, None)).shape
        rows = words * len(ORDER)
        groups = parts.part(".scales", SCALES, (None, rows)).shape[0]
        parts.part(".qzeros", ("I32",), (groups, words))
        if columns % groups:
            parts.fail(".scales", f"has {groups} groups for {columns} inputs; expected groups of equal size")
        places = np.arange(columns) // (columns // groups)

        def read() -> Affine:
            codes = np.ascontiguousarray(_unpack(parts.found[".qweight"].data, columns).T)
            zeros = _unpack(parts.found[".qzeros"].data, groups).T.astype(np.int64)
            return Affine(codes, parts.floats(".scales").T, zeros)

        return affine_matrix(parts, (rows, columns), BITS, places, read=read)


def _unpack(data: Bytes, rows: int) -> Bytes:
    """Unpack rows of words into rows of numbers, in the order of the outputs."""
    fields = unpack_words(data.reshape(rows, -1), BITS).reshape(rows, -1, len(ORDER))
    return fields[..., np.argsort(ORDER)].reshape(rows, -1)
