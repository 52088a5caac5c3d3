"""Attention in integers: 12-bit queries and keys, 8-bit values, 12-bit probabilities (docs/spec/numerics.md)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from intact.numerics.fixed import bitlen, rshift, sat32, shift
from intact.numerics.functions import LOG2E, exp2_neg
from intact.numerics.soft_cap import SoftCap, soft_cap

KEY_BITS, VALUE_BITS = 8, 6  # a key's scale counts 2^-24, a value's 2^-22
KEY_MAX, VALUE_MAX, WEIGHT_MAX = 2047, 127, 4095


class Heads(NamedTuple):
    """Quantised heads: codes (..., d) and one integer scale per vector (...,)."""

    codes: np.ndarray
    scale: np.ndarray


def quantize_keys(x: np.ndarray) -> Heads:
    """Quantise keys x (..., d) in Q16 to int16 codes: x = codes * scale * 2^-8."""
    return _quantize(x, KEY_BITS, KEY_MAX, 48)


def quantize_values(x: np.ndarray) -> Heads:
    """Quantise values x (..., d) in Q16 to int8 codes: x = codes * scale * 2^-6."""
    return _quantize(x, VALUE_BITS, VALUE_MAX, 50)


def _quantize(x: np.ndarray, bits: int, largest: int, drop: int) -> Heads:
    x = np.asarray(x, np.int64)
    amax = np.abs(x).max(axis=-1)
    scale = np.maximum(((amax << bits) + largest - 1) // largest, 1)
    reciprocal = (1 << (drop + bits)) // scale
    return Heads(rshift(x * reciprocal[..., None], drop), scale)


class Scale(NamedTuple):
    """The score factor times log2(e) / 2047, as mantissa * 2^-exponent, 2^30 <= mantissa < 2^31."""

    mantissa: int
    exponent: int


def score_scale(factor: Fraction) -> Scale:
    """Return the score factor for 12-bit queries, in base-2 units."""
    exact = factor * Fraction(LOG2E, 1 << 30) / KEY_MAX
    exponent = 30
    while exact * 2**exponent < 1 << 30:
        exponent += 1
    while exact * 2**exponent >= 1 << 31:
        exponent -= 1
    mantissa = int(exact * 2**exponent + Fraction(1, 2))
    return Scale(min(mantissa, (1 << 31) - 1), exponent)


def quantize_query(x: np.ndarray, scale: Scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quantise queries x (..., d) in Q16: codes (|code| <= 2047), a 15-bit mantissa and the scores' right shift."""
    x = np.asarray(x, np.int64)
    amax = np.abs(x).max(axis=-1)
    reciprocal = (KEY_MAX << 48) // np.maximum(amax, 1)
    product = amax * scale.mantissa
    bits = bitlen(product)
    codes = rshift(x * reciprocal[..., None], 48)
    return codes, shift(product, bits - 15), scale.exponent + 24 - bits


def scores(query: tuple[np.ndarray, np.ndarray, np.ndarray], keys: Heads) -> np.ndarray:
    """Return the scores of one query (d,) against keys (n, d), in base 2 and Q16: int64 (n,)."""
    codes, mantissa, drop = query
    acc = keys.codes @ codes
    return sat32(shift(rshift(acc * mantissa, 15) * keys.scale, drop))


def sink_scores(values: np.ndarray) -> np.ndarray:
    """Convert attention sink scores, float32 of any shape, to base 2 in Q16: int64, saturated."""
    exact = (Fraction(value) * LOG2E / (1 << 14) for value in values.reshape(-1).tolist())
    rounded = [max(min(math.floor(x + Fraction(1, 2)), 1 << 32), -(1 << 32)) for x in exact]
    return sat32(np.array(rounded, np.int64)).reshape(values.shape)


def attend(
    query: tuple[np.ndarray, np.ndarray, np.ndarray],
    keys: Heads,
    values: Heads,
    cap: SoftCap | None = None,
    sink: int | None = None,
) -> np.ndarray:
    """Return the attention output (d,) in Q16, saturated, of one query over the n visible positions.

    Scores may be soft-capped. A sink is one extra score that takes a share of the probability but has no value vector.
    """
    score = scores(query, keys)
    score = score if cap is None else soft_cap(score, cap)
    top = score.max() if sink is None else max(score.max(), np.int64(sink))
    e = exp2_neg(top - score)
    t = e * values.scale
    h = np.maximum(bitlen(t.max()) - 12, 0)
    weight = np.minimum(rshift(t, h), WEIGHT_MAX)
    total = weight @ values.codes
    mass = e.sum() + (0 if sink is None else exp2_neg(top - sink))
    s = bitlen(mass) - 23
    inverse = (1 << 46) // rshift(mass, s)
    return sat32(rshift(total * inverse, 52 + s - h))
