"""Specs: the transforms, quantiser, grid, block and scale rule, in one short string."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from intact._base.errors import ParameterError
from intact.numerics.grids import GRIDS, Layout, NumberGrid
from intact.quantizing.quantizers.block_types import BLOCK_TYPES, BlockType

ROW: Final = 0
"""The block size that stands for a whole row."""


@dataclass(frozen=True)
class Spec:
    """A spec, written ``[TRANSFORM+...][QUANTIZER:]GRID[-BLOCK][@RULE]``; BLOCK is a number or ``row``.

    Examples
    --------
    >>> from intact.quantizing.quantizers import parse_spec
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
    """Transforms applied to the model's weights before quantising, in this order."""

    def __str__(self) -> str:
        before = "".join(f"{name}+" for name in self.transforms)
        return f"{before}{self.quantizer}:{self.grid}-{self.block or 'row'}@{self.rule}"

    @property
    def levels(self) -> NumberGrid:
        """The grid itself."""
        return GRIDS[self.grid]

    @property
    def block_type(self) -> BlockType | None:
        """The GGUF type that stores its matrices, or None."""
        return BLOCK_TYPES.get(self.rule)

    def fitting(self, columns: int) -> Spec:
        """Return the spec, or the spec of the type's fallback if the type's blocks do not divide a row."""
        kind = self.block_type
        if kind is None or kind.fallback is None or columns % kind.form.values == 0:
            return self
        other = BLOCK_TYPES[kind.fallback]
        return replace(self, grid=other.grid, block=other.form.block, rule=kind.fallback)

    def width(self, columns: int) -> int:
        """Return the number of inputs that share a scale in rows of `columns` values.

        Raises
        ------
        ParameterError
            If a block does not divide a row.
        """
        kind = self.block_type
        if kind is not None and columns % kind.form.values:
            raise ParameterError(f"{self}: blocks of {kind.form.values} values do not divide rows of {columns}")
        padded = -(-columns // 32) * 32
        width = self.block or padded
        if padded % width:
            raise ParameterError(f"{self}: blocks of {width} do not divide rows of {columns} values")
        return width

    def layout(self, columns: int) -> Layout:
        """Return the layout of the codes in integer weights, for rows of `columns` values.

        Raises
        ------
        ParameterError
            If they cannot be stored.
        """
        layout = self.levels.layout(self.width(columns), padded=columns % 32 > 0)
        if columns % 32 and not layout.has_zero:
            raise ParameterError(f"{self} has no level 0, so rows must have a multiple of 32 values, got {columns}")
        return layout

    def bits_per_weight(self, columns: int = 4096) -> float:
        """Return the bits per weight of codes and 16-bit scales, or of a GGUF type's blocks."""
        if self.block_type is not None:
            return 8 * self.block_type.form.size / self.block_type.form.values
        scales = 16 * (1 + self.levels.affine) / self.width(columns)
        if self.levels.joint is not None:
            return self.levels.joint + scales
        return self.levels.planes * (self.levels.bits + scales)

    def stored_bits(self, columns: int = 4096) -> float:
        """Return the bits per weight in memory."""
        layout = self.layout(columns)
        return self.levels.planes * (layout.bits + 16 * (1 + self.levels.affine) / layout.block)


def fitting(specs: tuple[Spec, ...], columns: int) -> tuple[Spec, ...]:
    """Return the specs as used for rows of `columns` values (`Spec.fitting`), without duplicates."""
    return tuple(dict.fromkeys(spec.fitting(columns) for spec in specs))
