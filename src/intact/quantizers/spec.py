"""Specs: which transforms, quantiser, grid, blocks, and rule of scales, in one short text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from intact.errors import ParameterError
from intact.quantizers.grids import GRIDS, Layout, NumberGrid

ROW: Final = 0
"""The block that is a whole row."""


@dataclass(frozen=True)
class Spec:
    """A spec, written ``[TRANSFORM+...][QUANTIZER:]GRID[-BLOCK][@RULE]``; BLOCK is a number or ``row``.

    Examples
    --------
    >>> from intact.quantizers import parse_spec
    >>> parse_spec("gptq:int3-16")
    Spec(quantizer='gptq', grid='int3', block=16, rule='search', transforms=())
    >>> str(parse_spec("int4"))
    'nearest:int4-32@search'
    >>> parse_spec("awq+int4").transforms
    ('awq',)
    """

    quantizer: str
    grid: str
    block: int
    rule: str
    transforms: tuple[str, ...] = ()
    """What the model's weights go through before, in this order."""

    def __str__(self) -> str:
        before = "".join(f"{name}+" for name in self.transforms)
        return f"{before}{self.quantizer}:{self.grid}-{self.block or 'row'}@{self.rule}"

    @property
    def levels(self) -> NumberGrid:
        """The grid itself."""
        return GRIDS[self.grid]

    def width(self, columns: int) -> int:
        """Return the inputs that share a scale in rows of so many columns.

        Raises
        ------
        ParameterError
            If a block does not divide a row.
        """
        padded = -(-columns // 32) * 32
        width = self.block or padded
        if padded % width:
            raise ParameterError(f"{self}: blocks of {width} do not divide rows of {columns} values")
        return width

    def layout(self, columns: int) -> Layout:
        """Return how integer weights hold its codes, in rows of so many columns.

        Raises
        ------
        ParameterError
            If they cannot.
        """
        layout = self.levels.layout(self.width(columns))
        if columns % 32 and not layout.has_zero:
            raise ParameterError(f"{self}: without a level 0 it needs rows of a multiple of 32 values, got {columns}")
        return layout

    def bits_per_weight(self, columns: int = 4096) -> float:
        """Return the bits a weight that its codes and 16-bit scales need, for rows of so many columns."""
        return self.levels.planes * (self.levels.bits + 16 * (1 + self.levels.affine) / self.width(columns))

    def stored_bits(self, columns: int = 4096) -> float:
        """Return the bits a weight in memory."""
        layout = self.layout(columns)
        return self.levels.planes * (layout.bits + 16 * (1 + self.levels.affine) / layout.block)
