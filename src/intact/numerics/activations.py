"""Activations as one-byte codes with a scale per block of 32, on the grid of a scheme (docs/spec/numerics.md)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from intact.numerics.fixed import bitlen, rshift, shift
from intact.numerics.functions import shift_for

BLOCK = 32
LARGEST = 127 * 8191  # of a row after its shift
LARGEST_SUM = 8191


class Quantized(NamedTuple):
    """Quantised activation rows: x[m, k] = codes[m, k] * scale[m, k // 32] * 2 ** exponent[m].

    Attributes
    ----------
    codes : int8 (M, K), K padded to a multiple of 32 with zeros, |code| <= 127; int64 for wide schemes
    scale : int16 (M, K / 32), 1 to 8191
    exponent : int32 (M,)
    """

    codes: np.ndarray
    scale: np.ndarray
    exponent: np.ndarray


class Scheme(NamedTuple):
    """A quantisation grid for the inputs of matrix products, and the rule for its scales (docs/spec/numerics.md).

    A code is `step` times a level of the grid. `step` is as large as a byte allows, so that the rounded shift of
    section 4 loses as little as possible.

    Attributes
    ----------
    largest : int
        The largest code.
    mantissa : int
        Significant bits of a level; 7 for integer grids, whose levels are all integers.
    power : bool
        If true, scales are powers of two and values round to the nearest level, ties to even; otherwise scales are
        integers and ties round up.
    whole_row : bool
        If true, all blocks of a row share the largest block's scale.
    static : bool
        If true, all rows of a product share one scale, which comes from calibration (`fixed_scale`).
    outliers : bool
        If true, outlier columns get their own scales and 16 bits if a weight stores them separately
        (`intact.numerics.outliers`).
    """

    name: str
    largest: int
    step: int = 1
    mantissa: int = 7
    power: bool = False
    whole_row: bool = False
    static: bool = False
    outliers: bool = False

    @property
    def largest_scale(self) -> int:
        """The largest scale of a block."""
        return 1 << 12 if self.power else 8191

    @property
    def wide(self) -> bool:
        """True if codes do not fit in a byte, and products are exact (`intact.numerics.exact_product`)."""
        return self.largest > 127

    @property
    def takes_sparsity(self) -> bool:
        """True if the scheme can be combined with a sparsity rule (`intact.numerics.sparsity`)."""
        return not (self.wide or self.outliers)

    @property
    def native(self) -> tuple[int, int, int, bool, bool]:
        """The form that the extension expects: largest code, log2 of the unit or step, mantissa, power, whole_row.

        For a wide scheme, the largest code is given in units that leave it 18 bits.
        """
        unit = max(0, self.largest.bit_length() - 18) if self.wide else self.step.bit_length() - 1
        largest = self.largest >> unit if self.wide else self.largest
        return largest, unit, self.mantissa, self.power, self.whole_row


INT8: Final = Scheme("int8", 127)
SCHEMES: Final = {
    scheme.name: scheme
    for scheme in (
        INT8,
        Scheme("int8_row", 127, whole_row=True),
        Scheme("int4", 7 * 16, step=16),
        Scheme("mxint8", 127, power=True),
        Scheme("mxfp4", 12 * 8, step=8, mantissa=2, power=True),
        Scheme("mxfp6", 60 * 2, step=2, mantissa=4, power=True),
        Scheme("mxfp8", 448 << 9, mantissa=4, power=True),
        Scheme("mxfp8e5m2", 57344 << 16, mantissa=3, power=True),
        Scheme("int8_static", 127, static=True),
        Scheme("llm_int8", 127, whole_row=True, outliers=True),
    )
}
"""Activation schemes by name; the first is the default. mxfp4 is E2M1 in halves, mxfp6 E2M3 in eighths,
mxfp8 E4M3 in units of 2^-9 and mxfp8e5m2 E5M2 in units of 2^-16; the codes of the last two do not fit in a byte.
"""


def quantize(x: np.ndarray, fraction: int, scheme: Scheme = INT8, outliers: int = 0) -> Quantized:
    """Quantise rows x (M, K) of integers with `fraction` fraction bits to blocks of one-byte codes.

    Parameters
    ----------
    outliers : int
        Number of outlier blocks. Each row ends with three copies of them; the last copy encodes the remainder of the
        first.
    """
    if scheme is not INT8:
        return _quantize_to(scheme, x, fraction, outliers)
    rows, columns = x.shape
    x = np.pad(np.asarray(x, np.int64), ((0, 0), (0, -columns % BLOCK)))
    amax = np.abs(x).max(axis=1)
    e = bitlen(amax) - 20
    e = np.where(amax > np.where(e >= 0, LARGEST << np.maximum(e, 0), LARGEST >> np.maximum(-e, 0)), e + 1, e)
    e = np.where(amax == 0, 0, e)
    u = shift(x, e[:, None]).reshape(rows, -1, BLOCK)
    scale = np.maximum((np.abs(u).max(axis=2) + 126) // 127, 1)
    reciprocal = ((1 << 24) + (scale >> 1)) // scale
    codes = rshift(u * reciprocal[:, :, None], 24)
    return Quantized(codes.reshape(rows, -1).astype(np.int8), scale.astype(np.int16), (e - fraction).astype(np.int32))


def _quantize_to(scheme: Scheme, x: np.ndarray, fraction: int, outliers: int) -> Quantized:
    rows, columns = x.shape
    x = np.pad(np.asarray(x, np.int64), ((0, 0), (0, -columns % BLOCK)))
    amax = np.abs(x).max(axis=1)
    most = scheme.largest * scheme.largest_scale
    e = bitlen(amax) - most.bit_length()
    e = np.where(amax > np.where(e >= 0, most << np.maximum(e, 0), most >> np.maximum(-e, 0)), e + 1, e)
    e = np.where(amax == 0, 0, e)
    u = _scaled(x, e[:, None]).reshape(rows, -1, BLOCK)
    own, once, twice, rest = np.split(u, [u.shape[1] - i * outliers for i in (3, 2, 1)], axis=1)
    parts = [_codes_of(scheme, own, scheme.whole_row), _codes_of(scheme, once), _codes_of(scheme, twice)]
    codes, scale = parts[1]
    parts.append(_codes_of(scheme, rest - codes * scale[:, :, None]))
    codes, scale = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    codes = codes.reshape(rows, -1).astype(np.int64 if scheme.wide else np.int8)
    return Quantized(codes, scale.astype(np.int16), (e - fraction).astype(np.int32))


def _codes_of(scheme: Scheme, u: np.ndarray, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and scales of blocks (M, blocks, 32); if `whole`, all blocks of a row share one scale."""
    tops = np.abs(u).max(axis=2)
    if whole:
        tops = np.broadcast_to(tops.max(axis=1, keepdims=True, initial=0), tops.shape)
    scale = np.maximum((tops + scheme.largest - 1) // scheme.largest, 1)
    if scheme.power:
        power = bitlen(scale - 1)
        codes = _nearest_float(u, power[:, :, None] + bitlen(scheme.step - 1), scheme.mantissa) * scheme.step
        return codes, np.int64(1) << power
    reciprocal = ((1 << 24) + (scale >> 1)) // scale
    return rshift(u * reciprocal[:, :, None], 24 + bitlen(scheme.step - 1)) * scheme.step, scale


def _scaled(x: np.ndarray, e: np.ndarray) -> np.ndarray:
    """Return x / 2^e, rounded half up; exact where e is negative."""
    return np.where(e >= 0, rshift(x, np.maximum(e, 0)), x << np.maximum(-e, 0))


class FixedScale(NamedTuple):
    """The shared scale of all rows that enter a product: x is approximately code * scale * 2 ** exponent.

    Attributes
    ----------
    scale : int
        From 1 to 8191.
    """

    scale: int
    exponent: int


LEAST_INPUT, MOST_INPUT = 2.0**-40, 2.0**31
"""Bounds on a product's largest input: smaller values are raised to the lower bound, and larger ones are rejected."""


def fixed_scale(largest: float) -> FixedScale:
    """Return the scale at which a product's largest input has the code 127 (docs/spec/numerics.md, section 3).

    Parameters
    ----------
    largest : float
        Largest magnitude of the inputs on calibration text: a float32.

    Raises
    ------
    ValueError
        If the magnitude is not a number from 0 to 2^31.
    """
    if not 0 <= largest < MOST_INPUT:
        raise ValueError(f"the largest input of a product must lie in 0 to 2^31, got {largest}")
    fraction, exponent = np.frexp(max(float(np.float32(largest)), LEAST_INPUT))
    units = int(fraction * (1 << 24))
    e = 5 if units > LARGEST << 4 else 4
    u = int(rshift(units, e))
    return FixedScale((u + 126) // 127, e + int(exponent) - 24)


def quantize_fixed(x: np.ndarray, fraction: int, to: FixedScale) -> Quantized:
    """Quantise rows x (M, K) of integers with `fraction` fraction bits with a fixed scale; clip larger inputs."""
    rows, columns = x.shape
    x = np.pad(np.asarray(x, np.int64), ((0, 0), (0, -columns % BLOCK)))
    u = np.clip(shift(x, to.exponent + fraction), -LARGEST, LARGEST)
    reciprocal = ((1 << 24) + (to.scale >> 1)) // to.scale
    codes = np.clip(rshift(u * reciprocal, 24), -127, 127).astype(np.int8)
    scale = np.full((rows, x.shape[1] // BLOCK), to.scale, np.int16)
    return Quantized(codes, scale, np.full(rows, to.exponent, np.int32))


def _nearest_float(u: np.ndarray, least: np.ndarray, mantissa: int) -> np.ndarray:
    """Return u / 2^least rounded to `mantissa` significant bits or to an integer, ties to even."""
    size = np.abs(u)
    drop = np.maximum(bitlen(size) - mantissa, least)
    whole, rest = size >> drop, size & (np.int64(1) << drop) - 1
    up = 2 * rest + (whole & 1) > np.int64(1) << drop
    return np.asarray(np.sign(u) * ((whole + up) << (drop - least)))


def to_bytes(a: Quantized) -> np.ndarray:
    """Serialise activation rows (M, K + K / 16 + 4): codes, then scales and the exponent as little-endian integers.

    A receipt's hash chain covers the head's inputs in this form (docs/spec/receipts.md).
    """
    scale, exponent = a.scale.astype("<i2"), a.exponent.astype("<i4")[:, None]
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in (a.codes, scale, exponent)], axis=1)


def from_row_bytes(data: np.ndarray, columns: int) -> Quantized:
    """Parse rows written by `to_bytes`: uint8 of any shape, for rows of `columns` values."""
    padded = -(-columns // BLOCK) * BLOCK
    rows = data.reshape(-1, padded + padded // BLOCK * 2 + 4)
    codes, scale, exponent = np.split(rows, [padded, rows.shape[1] - 4], axis=1)
    return Quantized(
        codes.view(np.int8),
        np.ascontiguousarray(scale).view("<i2").astype(np.int16),
        np.ascontiguousarray(exponent).view("<i4").reshape(-1).astype(np.int32),
    )


def block_sums(a: Quantized, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scaled block sums of the inputs for the minima: (T int16 (M, K / block), exponent int32 (M,)).

    The sum of a block's codes times its scale is T * 2 ** exponent, rounded to 13 bits and a sign.
    """
    sums = a.codes.astype(np.int64).reshape(len(a.codes), -1, block).sum(axis=2)
    sums *= np.repeat(a.scale, BLOCK // block, axis=1)
    amax = np.abs(sums).max(axis=1)
    e = shift_for(amax, 13)
    e = np.where(rshift(amax, e) > LARGEST_SUM, e + 1, e)
    return rshift(sums, e[:, None]).astype(np.int16), e.astype(np.int32)
