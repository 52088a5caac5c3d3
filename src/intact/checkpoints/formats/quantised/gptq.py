"""GPTQ files (AutoGPTQ, GPTQModel): codes packed along the inputs, zeros along the outputs.

Source: the layout of AutoGPTQ's QuantLinear. Version 1 stores each zero minus 1; "gptq_v2" stores it unchanged.
"""

from __future__ import annotations

import numpy as np

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.floats import SCALES
from intact.checkpoints.formats.quantised.form import QuantisedForm
from intact.checkpoints.formats.quantised.integers import Affine, affine_matrix
from intact.checkpoints.formats.quantised.packing import unpack_words
from intact.checkpoints.formats.quantised.parts import Int, MatrixParts
from intact.checkpoints.formats.tensor import Tensor

BITS = (2, 3, 4, 8)


class GptqFiles(QuantisedForm):
    """2, 3, 4 or 8 bits in groups of consecutive inputs, or in the groups given by `g_idx` (act-order)."""

    methods = ("gptq",)
    marks = (".qweight",)
    ends = (".qzeros", ".scales", ".g_idx")

    def __init__(self, settings: Metadata) -> None:
        super().__init__(settings)
        self.bits = settings.integer("bits", least=2, most=8)
        if self.bits not in BITS:
            settings.refuse("bits", " or ".join(map(str, BITS)), self.bits)
        self.group = settings.get("group_size", -1)
        if self.group != -1:
            self.group = settings.integer("group_size")
        self.offset = 0 if settings.choice("checkpoint_format", ("gptq", "gptq_v2")) == "gptq_v2" else 1
        settings.refuse_features({"is_marlin_format": (False,)})
        self.varies = bool(settings.mapping("dynamic"))

    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return an integer weight; float32 if act-order assigns the inputs of one block to several groups."""
        words, rows = parts.part(".qweight", ("I32",), (None, None)).shape
        groups = parts.part(".scales", SCALES, (None, rows)).shape[0]
        bits = self._bits(parts, rows, groups)
        columns, rest = divmod(words * 32, bits)
        if rest:
            parts.fail(
                ".qweight", f"has {words} rows of 32-bit words, which do not hold a whole number of {bits}-bit inputs"
            )
        places = self._groups(parts, columns, groups)

        def read() -> Affine:
            packed = parts.found[".qweight"].data.reshape(words, rows, 4)
            codes = unpack_words(np.ascontiguousarray(packed.swapaxes(0, 1)).reshape(rows, -1), bits)
            zeros = unpack_words(parts.found[".qzeros"].data.reshape(groups, -1), bits).astype(np.int64)
            return Affine(codes, parts.floats(".scales").T, zeros.T + self.offset)

        return affine_matrix(parts, (rows, columns), bits, places, read=read)

    def _bits(self, parts: MatrixParts, rows: int, groups: int) -> int:
        """Return a matrix's number of bits: the file's or, if that varies, derived from the shape of the zeros."""
        if not self.varies:
            parts.part(".qzeros", ("I32",), (groups, rows * self.bits // 32))
            return self.bits
        width = parts.part(".qzeros", ("I32",), (groups, None)).shape[1]
        if width * 32 not in [rows * bits for bits in BITS]:
            parts.fail(
                ".qzeros", f"has {width} columns for {rows} outputs; expected {' or '.join(map(str, BITS))} bits"
            )
        return width * 32 // rows

    def _groups(self, parts: MatrixParts, columns: int, count: int) -> Int:
        """Return the group of each input."""
        if ".g_idx" in parts:
            parts.part(".g_idx", ("I32", "I64"), (columns,))
            groups, end = parts.integers(".g_idx"), ".g_idx"
        else:
            groups, end = np.arange(columns) // (columns if self.group == -1 else self.group), ".scales"
        if not 0 <= groups.min() <= groups.max() < count:
            parts.fail(
                end, f"has groups from {groups.min()} to {groups.max()}; expected 0 to {count - 1}, as in scales"
            )
        return groups
