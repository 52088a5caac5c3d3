"""Non-linear functions in fixed point: exp2, sigmoid, square root, logarithm (docs/spec/numerics.md, section 2)."""

from __future__ import annotations

import math

import numpy as np

from intact.numerics.fixed import bitlen, rshift

Int = np.ndarray

ONE = 1 << 30
LOG2E = 1549082005  # log2(e) in Q30
LN2 = 744261118  # ln(2) in Q30
EXP2_COEFFICIENTS = (1073741824, -744257403, 257891465, -59375086, 9884650, -1014583)


def exp2_neg(t: Int) -> Int:
    """Return 2 ** -t for t >= 0 in Q16, as Q30.

    Relative error below 1e-7 before the last rounding. Computed as a polynomial of degree 5 in the fractional part and
    a rounded shift by the integer part; 0 for t >= 31.
    """
    return exp2_neg_fine(np.asarray(t, np.int64) << 14)


def exp2_neg_fine(t: Int) -> Int:
    """Like `exp2_neg`, for t in Q30."""
    whole, fraction = t >> 30, t & (ONE - 1)
    acc = np.full(t.shape, EXP2_COEFFICIENTS[-1], np.int64)
    for coefficient in EXP2_COEFFICIENTS[-2::-1]:
        acc = rshift(acc * fraction, 30) + coefficient
    return np.where(whole >= 31, 0, rshift(acc, np.minimum(whole, 31)))


def sigmoid(x: Int) -> Int:
    """Return 1 / (1 + exp(-x)) for x in Q16 (|x| < 2^31), as Q30 in [0, 2^30]."""
    x = np.asarray(x, np.int64)
    e = exp2_neg(rshift(np.abs(x) * LOG2E, 30))
    positive = (1 << 60) // (ONE + e)
    return np.where(x < 0, ONE - positive, positive)


def tanh(x: Int) -> Int:
    """Return tanh(x) as 2 * sigmoid(2 x) - 1, for x in Q16 (|x| < 2^31), as Q30; within 3e-6."""
    limit = (1 << 31) - 1
    return 2 * sigmoid(np.clip(2 * np.asarray(x, np.int64), -limit, limit)) - ONE


def inverse_sqrt(v: int) -> tuple[int, int]:
    """Return (r, p) with 1 / sqrt(v) = r * 2^(p - 61) to 30 bits, for 1 <= v < 2^62; 2^30 <= r <= 2^31."""
    p = (62 - v.bit_length()) // 2
    return (1 << 61) // math.isqrt(v << (2 * p)), p


def log2_fixed(v: int) -> int:
    """Return log2(v) for v >= 1, in Q28, by repeated squaring of a 31-bit mantissa; the last bit is not rounded."""
    whole = v.bit_length() - 1
    mantissa = v << (31 - whole) if whole <= 31 else v >> (whole - 31)  # Q31, in [1, 2)
    result = whole
    for _ in range(28):
        mantissa = (mantissa * mantissa) >> 31
        bit = mantissa >> 32
        mantissa >>= bit
        result = 2 * result + bit
    return result


def log2_each(v: Int) -> Int:
    """Return `log2_fixed` of each v, 1 <= v < 2^63."""
    v = np.asarray(v, np.int64)
    whole = bitlen(v) - 1
    mantissa = np.where(whole <= 31, v << np.maximum(31 - whole, 0), v >> np.maximum(whole - 31, 0)).astype(np.uint64)
    result = whole
    for _ in range(28):
        mantissa = (mantissa * mantissa) >> np.uint64(31)
        bit = mantissa >> np.uint64(32)
        mantissa >>= bit
        result = 2 * result + bit.astype(np.int64)
    return result


def shift_for(amax: Int, bits: int) -> Int:
    """Return the smallest s >= 0 with bitlen(amax) - s <= bits."""
    return np.maximum(bitlen(amax) - bits, 0)
