"""Grids: the values that a code can represent, as small integers in steps of a block's scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.integers import LARGEST_ENTRY, LAYOUTS, TABLED, entries_of
from intact.numerics.weight_formats.iq1 import EIGHTHS
from intact.numerics.weight_formats.iq2 import SIZES as IQ2_SIZES
from intact.numerics.weight_formats.iq3 import HALVED, ODD
from intact.numerics.weight_formats.iq4 import VALUES as IQ4_VALUES


@dataclass(frozen=True)
class NumberGrid:
    """The values that codes represent.

    Attributes
    ----------
    levels : tuple of int
        In ascending order, in units of a step.
    block : int
        Default number of inputs that share a scale.
    affine : bool
        If true, a block has an offset in addition to its scale; it is added to all values.
    deviation : float
        Number of steps per standard deviation if the levels are derived from a distribution; otherwise 0.
    source : str
        Source of the levels.
    """

    name: str
    levels: tuple[int, ...]
    source: str
    block: int = 32
    affine: bool = False
    deviation: float = 0.0
    planes: int = 1
    """Number of code matrices, side by side, whose sum is the weight; used by quantisers that name the grid."""
    joint: int | None = None
    """Bits per code for all planes under a joint scale, if the format has one; None if each plane has its own scale."""

    @property
    def bits(self) -> int:
        """Number of bits that distinguish the levels of a plane."""
        return (len(self.levels) - 1).bit_length()

    @property
    def largest(self) -> int:
        """The largest magnitude of a level."""
        return max(self.levels[-1], -self.levels[0])

    @cached_property
    def even(self) -> bool:
        """True if the levels are consecutive integers."""
        return self.levels[-1] - self.levels[0] == len(self.levels) - 1

    def layout(self, block: int, padded: bool = False) -> Layout:
        """Return the integer weight layout with the fewest stored bits for blocks of `block` inputs per scale.

        Parameters
        ----------
        block : inputs that share a scale
        padded : if true, prefer layouts that have a code for 0, which padded rows need

        Raises
        ------
        ParameterError
            If no kernel supports the levels, or `block` is not a multiple of a supported block.
        """
        found = [option for option in self._layouts() if block % option.block == 0]
        if padded:
            found = [option for option in found if option.has_zero] or found
        if not found:
            raise ParameterError(f"{self.name}: no kernel has its codes in blocks of {block}; use a multiple of 32")
        return min(found, key=lambda option: (option.stored, option.bits))

    def _layouts(self) -> list[Layout]:
        least, most = self.levels[0], self.levels[-1]
        plain = [
            Layout(bits, n, zero, None)
            for bits, blocks in LAYOUTS.items()
            for n in blocks
            for zero in [1 << (bits - 1) if bits > 2 or least < -1 else 1]
            if least + zero >= 0 and most + zero < 1 << bits
        ]
        if self.even:
            return plain
        low = max(0, -least)
        if most + low > LARGEST_ENTRY:
            return plain
        table = tuple(level + low for level in self.levels)
        tabled = [
            Layout(bits, n, low, (*table, *(low,) * (entries_of(bits) - len(table))))
            for bits, blocks in TABLED.items()
            for n in blocks
            if len(table) <= 1 << bits
        ]
        return plain + tabled


@dataclass(frozen=True)
class Layout:
    """Bits, block, zero and table of an integer weight (docs/spec/numerics.md, section 1)."""

    bits: int
    block: int
    zero: int
    table: tuple[int, ...] | None

    @property
    def stored(self) -> float:
        """Bits per weight, including a 16-bit scale per block."""
        return self.bits + 16 / self.block

    @property
    def has_zero(self) -> bool:
        """True if some code represents 0, which is needed to pad rows."""
        return self.table is None or self.zero in self.table[: 1 << self.bits]

    @property
    def zero_code(self) -> int:
        """The code for the value 0 if there is one; otherwise 0."""
        if self.table is None:
            return self.zero
        return self.table.index(self.zero) if self.has_zero else 0

    def codes(self, levels: NDArray[np.int64], grid: NumberGrid) -> NDArray[np.uint8]:
        """Return the codes of the grid's levels."""
        if self.table is None:
            return (levels + self.zero).astype(np.uint8)
        return np.searchsorted(np.array(grid.levels), levels).astype(np.uint8)


def _integers(bits: int) -> NumberGrid:
    return NumberGrid(f"int{bits}", tuple(range(-(1 << bits - 1), 1 << bits - 1)), "two's complement")


def _symmetric(bits: int) -> NumberGrid:
    return NumberGrid(f"int{bits}s", tuple(range(1 - (1 << bits - 1), 1 << bits - 1)), "arXiv 2004.09602: symmetric")


def _affine(bits: int) -> NumberGrid:
    levels = _integers(bits).levels
    return NumberGrid(
        f"int{bits}a", levels, "arXiv 1806.08342: affine", affine=True, block=16 if bits in (2, 3) else 32
    )


def _float(name: str, exponent_bits: int, mantissa_bits: int, source: str) -> NumberGrid:
    """Return the grid of a small float format without infinities, as integers in units of its smallest step."""
    fractions = range(1 << mantissa_bits)
    sizes = {*fractions} | {
        (f + (1 << mantissa_bits)) << e - 1 for e in range(1, 1 << exponent_bits) for f in fractions
    }
    return NumberGrid(name, tuple(sorted({*sizes} | {-size for size in sizes})), source)


_E4M3_PLANE: Final = tuple(
    sorted({*range(-7, 8)} | {sign * f << p for p in range(8) for f in range(8, 16) for sign in (-1, 1)})[1:-1]
)
"""The integers of both planes: see `intact.quantizing.quantizers.fp8`."""
_NF4: Final = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip

FP4_SIZES: Final = (0, 1, 80, 120, 40, 60, 20, 30)
"""Magnitudes of bitsandbytes' FP4 by code, times 120: 0, 1/192, 2/3, 1, 1/3, 1/2, 1/6 and 1/4. All give integers except
1/192, which is rounded to 1.
"""
_BYTE: Final = 127
"""The last level of a table whose levels are real numbers, chosen so that both signs and 0 fit in a byte."""


def _shift(bits: int) -> NumberGrid:
    """Return DenseShift's powers of two without zero; with 4 bits, 128 becomes 127 so that both signs fit in a byte."""
    sizes = [min(1 << p, _BYTE) for p in range(1 << bits - 1)]
    levels = (*(-size for size in reversed(sizes)), *sizes)
    return NumberGrid(f"shift{bits}", levels, "arXiv 2208.09708: no zero" + ", 127 for 128" * (bits == 4))


def _nupes(tenths: int) -> NumberGrid:
    """Return NUPES' levels for the exponent a = tenths / 10: |q|^(1/a) for 4-bit q, scaled so that the last is 127.

    The rounding compares integers: v <= 127 (q/7)^(10/t) + 1/2 if and only if (2v - 1)^t 7^10 <= q^10 254^t.
    """
    sizes = [
        max(v for v in range(_BYTE + 1) if v == 0 or (2 * v - 1) ** tenths * 7**10 <= q**10 * (2 * _BYTE) ** tenths)
        for q in range(1, 8)
    ]
    levels = tuple(sorted({0, *sizes} | {-size for size in sizes}))
    return NumberGrid(f"nupes4a{tenths}", levels, f"arXiv 2308.05600: the exponent 0.{tenths}, rounded to 1/127")


def _lloyd(*levels: float) -> NumberGrid:
    """Return a grid of the positive Lloyd-Max levels of N(0, 1) and their negatives, scaled so that the last is 127."""
    sizes = [round(_BYTE * level / levels[-1]) for level in levels]
    name = f"lloyd{len(sizes).bit_length()}"
    return NumberGrid(
        name,
        (*(-size for size in reversed(sizes)), *sizes),
        "Max, 1960; snu-mllab/Q-Palette: NUQ, rounded to 1/127",
        deviation=_BYTE / levels[-1],
    )


def _mirrored(name: str, sizes: tuple[int, ...], source: str) -> NumberGrid:
    """Return a grid of the given magnitudes with both signs, without 0."""
    return NumberGrid(name, (*(-size for size in reversed(sizes)), *sizes), source)


_ALL: Final = (
    *map(_integers, (2, 3, 4, 5, 6, 8)),
    *map(_symmetric, (3, 4, 5, 6, 8)),
    *map(_affine, (2, 3, 4, 5)),
    NumberGrid("ternary", (-1, 0, 1), "arXiv 2402.17764", block=64),
    NumberGrid("nf4", tuple(round(127 * x) for x in _NF4), "arXiv 2305.14314, rounded to 1/127", block=64),
    NumberGrid("iq4nl", IQ4_VALUES, "GGUF: IQ4_NL and IQ4_XS"),
    _mirrored("iq3", ODD, "GGUF: IQ3_S; a codebook has 512 of the 4096 sizes of four"),
    _mirrored("iq3x", HALVED, "GGUF: IQ3_XXS, halved; a codebook has 256 of the 4096 sizes of four"),
    _mirrored("iq2", IQ2_SIZES, "GGUF: IQ2; codebooks have 256 to 1024 of the 6561 sizes of eight"),
    NumberGrid(
        "iq1",
        tuple(sorted({*EIGHTHS} - {0})),
        "GGUF: IQ1_S and IQ1_M, in eighths; a codebook has 2048 of 6561 times eight trits",
    ),
    _float("e2m1", 2, 1, "OCP Microscaling 1.0"),
    _float("e1m2", 1, 2, "arXiv 2310.16836"),
    _float("e3m0", 3, 0, "arXiv 2310.16836"),
    _float("e2m3", 2, 3, "OCP Microscaling 1.0"),
    _float("e3m2", 3, 2, "OCP Microscaling 1.0"),
    _float("e2m5", 2, 5, "arXiv 2303.17951"),
    _float("e3m4", 3, 4, "arXiv 2303.17951"),
    NumberGrid(
        "fp4", tuple(sorted({*FP4_SIZES} | {-size for size in FP4_SIZES})), "bitsandbytes, 1/120 for 1/192", block=64
    ),
    NumberGrid("nupes4", tuple(q * abs(q) for q in range(-7, 8)), "arXiv 2308.05600: the exponent 1/2"),
    *map(_nupes, (3, 4, 6, 7, 8, 9)),
    *map(_shift, (2, 3, 4)),
    _lloyd(0.4527800, 1.5104176),
    _lloyd(0.2450942, 0.7560053, 1.3439092, 2.1519458),
    _lloyd(0.1283950, 0.3880483, 0.6567591, 0.9423405, 1.2562312, 1.6180464, 2.0690173, 2.7325896),
    NumberGrid("trits2", tuple(range(-4, 5)), "PTQTP: two trits, 3 t1 + t2", block=128),
    NumberGrid("trits", (-1, 0, 1), "PTQTP: two planes with scales of their own", block=128, planes=2),
    NumberGrid("phases1", (-1, 0, 1), "Fairy2i: 1, i, -1, -i; U and W", block=0, planes=2),
    NumberGrid("phases2", (-1, 0, 1), "Fairy2i: the same in two stages", block=0, planes=4),
    NumberGrid("e4m3", _E4M3_PLANE, "arXiv 2209.05433: E4M3 by the size of its exponent", planes=2, joint=8),
    NumberGrid("power4", (-64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64), "powers of two with zero"),
)
GRIDS: Final = {grid.name: grid for grid in _ALL}
"""All grids by name."""
TOO_WIDE: Final = {"e5m2": 3_758_096_384}
"""Float formats that are too wide for a grid, with their largest value in units of their smallest."""
