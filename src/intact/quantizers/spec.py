"""Specs: which quantiser, which grid, which blocks, and which rule of scales, in one short text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from intact.errors import ParameterError
from intact.quantizers.grids import GRIDS, Grid, Layout
from intact.quantizers.scales import RULES

ROW: Final = 0
"""The block that is a whole row."""
ALIASES: Final = {
    "mxint8": "int8s-32@power",
    "mxint4": "int4s-32@power",
    "mxfp4": "e2m1-32@power",
    "mxfp6": "e2m3-32@power",
    "nf4": "nf4-64@largest",
}
"""Names that other programs give to a grid with its blocks and scales."""
_FORM: Final = re.compile(r"(?:(?P<quantizer>[a-z][a-z0-9_]*):)?(?P<grid>[a-z][a-z0-9]*)"
                          r"(?:-(?P<block>\d+|row))?(?:@(?P<rule>[a-z0-9]+))?")  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """A spec, written ``[QUANTIZER:]GRID[-BLOCK][@RULE]``; BLOCK is a number or ``row``.

    Examples
    --------
    >>> parse_spec("gptq:int3-16")
    Spec(quantizer='gptq', grid='int3', block=16, rule='search')
    >>> str(parse_spec("int4"))
    'nearest:int4-32@search'
    """

    quantizer: str
    grid: str
    block: int
    rule: str

    def __str__(self) -> str:
        return f"{self.quantizer}:{self.grid}-{self.block or 'row'}@{self.rule}"

    @property
    def levels(self) -> Grid:
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
        """Return how integer weights hold its codes, in rows of so many columns."""
        return self.levels.layout(self.width(columns))

    def bits_per_weight(self, columns: int = 4096) -> float:
        """Return the bits a weight that its codes and 16-bit scales need, for rows of so many columns."""
        return self.levels.bits + 16 * (1 + self.levels.affine) / self.width(columns)

    def stored_bits(self, columns: int = 4096) -> float:
        """Return the bits a weight in memory."""
        layout = self.layout(columns)
        return layout.bits + 16 * (1 + self.levels.affine) / layout.block


def parse_spec(text: str) -> Spec:
    """Read a spec.

    Raises
    ------
    ParameterError
        If it names what does not exist.
    """
    from intact.quantizers import QUANTIZERS

    prefix, colon, rest = text.rpartition(":")
    match = _FORM.fullmatch(prefix + colon + ALIASES.get(rest, rest))
    if match is None:
        raise ParameterError(f"{text!r:.80} is no spec; expected [QUANTIZER:]GRID[-BLOCK][@RULE], such as gptq:int4-32")
    quantizer, grid, rule = match["quantizer"] or "nearest", match["grid"], match["rule"] or "search"
    for what, name, known in (
        ("quantizer", quantizer, list(QUANTIZERS)),
        ("grid", grid, list(GRIDS)),
        ("rule", rule, list(RULES)),
    ):
        if name not in known:
            raise ParameterError(f"{text!r:.80}: there is no {what} {name!r}; known are {', '.join(known)}")
    spec = Spec(quantizer, grid, GRIDS[grid].block, rule)
    if match["block"]:
        spec = replace(spec, block=ROW if match["block"] == "row" else int(match["block"]))
    if spec.block % 16 or spec.block > 1 << 16:
        raise ParameterError(f"{text!r:.80}: a block is row or a multiple of 16, got {match['block']}")
    spec.layout(spec.block or 4096)
    return spec
