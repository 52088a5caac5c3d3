"""GGUF's block types as specs: the grid, block and scales of each type, by its name in lower case (``q4_k``).

Used as the rule of a spec, a type's name restricts scales to those the type can store: a float16 per block of 32, or
small integers under one or two float16 numbers per 256 values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from intact.numerics.weight_formats import BLOCK_FORMATS, BlockFormat, Bytes


class BlockType(NamedTuple):
    """A GGUF type that can be written."""

    name: str
    """Name of the format, a key of `BLOCK_FORMATS`."""
    grid: str
    scales: tuple[int, int] | None = None
    """The smallest and largest integer scale of a sub-block; None if the only scale is the float16."""
    fallback: str | None = None
    """The type for rows whose length is not a multiple of 256, as in llama-quantize."""
    codebook: int = 0
    """Bits per field of its codebook, if it has one (`weight_formats.iq_grids`); its levels are chosen together."""
    even_signs: bool = False
    """If true, each group of eight values has an even number of negative signs."""
    moved: int = 0
    """If not 0, entries carry their own signs, and groups of this many values are moved up or down by an eighth."""

    @property
    def form(self) -> BlockFormat:
        """The block format."""
        return BLOCK_FORMATS[self.name]

    @property
    def book(self) -> str:
        """The type whose codebook it uses, a key of `GRIDS`; IQ1_S and IQ1_M share one."""
        return "IQ1_S" if self.moved else self.name

    def codes(self, levels: Sequence[int]) -> Bytes:
        """Return the codes of the grid's levels."""
        table = np.arange(1 << self.form.bits) if self.form.table is None else np.array(self.form.table)
        entries, first = np.unique(table, return_index=True)
        return first[np.searchsorted(entries, np.array(levels) + self.form.zero)].astype(np.uint8)


_ALL: Final = (
    BlockType("Q8_0", "int8"),
    BlockType("Q4_0", "int4"),
    BlockType("Q4_1", "int4a"),
    BlockType("Q5_0", "int5"),
    BlockType("Q5_1", "int5a"),
    BlockType("Q6_K", "int6", (-128, 127), "q8_0"),
    BlockType("Q5_K", "int5a", (0, 63), "q5_1"),
    BlockType("Q4_K", "int4a", (0, 63), "q5_0"),
    BlockType("Q3_K", "int3", (-32, 31), "q4_0"),
    BlockType("Q2_K", "int2a", (0, 15), "q4_0"),
    BlockType("IQ4_NL", "iq4nl"),
    BlockType("IQ4_XS", "iq4nl", (-32, 31), "iq4_nl"),
    BlockType("MXFP4", "e2m1"),
    BlockType("IQ3_S", "iq3", (1, 31), "iq4_nl", codebook=4),
    BlockType("IQ3_XXS", "iq3x", (1, 31), "iq4_nl", codebook=4, even_signs=True),
    BlockType("IQ2_S", "iq2", (1, 31), "iq4_nl", codebook=2),
    BlockType("IQ2_XS", "iq2", (1, 31), "iq4_nl", codebook=2, even_signs=True),
    BlockType("IQ2_XXS", "iq2", (1, 31), "iq4_nl", codebook=2, even_signs=True),
    BlockType("IQ1_S", "iq1", (1, 15), "iq4_nl", codebook=2, moved=32),
    BlockType("IQ1_M", "iq1", (1, 15), "iq4_nl", codebook=2, moved=8),
)
BLOCK_TYPES: Final = {one.name.lower(): one for one in _ALL}
"""All types that can be written, by lower-case name."""
PLAIN_TYPES: Final = {name: one for name, one in BLOCK_TYPES.items() if not one.codebook}
"""Types whose values are chosen individually."""
BLOCK_SPECS: Final = {name: f"{one.grid}-{one.form.block}@{name}" for name, one in BLOCK_TYPES.items()}
"""Full specs of the types, without quantiser."""
