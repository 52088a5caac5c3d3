"""Root-mean-square norms and layer norms in integer arithmetic (docs/spec/numerics.md, section 5)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from intact.numerics.fixed import rshift
from intact.numerics.functions import inverse_sqrt, shift_for

CENTERED_LIMIT = 1 << 46  # so that a row's sum is exact


class Gain(NamedTuple):
    """The gain of a norm over n values, with sqrt(n) folded in: gain[i] * sqrt(n) = factor[i] * 2 ** (exponent - 30).

    Attributes
    ----------
    factor : int32 (n,), |factor| <= 2^30; (groups * n,) if each group of columns is normalised separately
    exponent : int
    epsilon : int, round(eps * n * 2^40): added to the sum of squares of values in Q20
    """

    factor: np.ndarray
    exponent: int
    epsilon: int

    @property
    def fraction(self) -> int:
        """Fraction bits of a narrow result: the largest number for which no value can exceed 2^30."""
        return 30 - self.exponent


def make_gain(gain: np.ndarray, eps: float, groups: int = 1) -> Gain:
    """Convert a float32 gain (groups * n,) to integers; eps is read as the decimal number in its repr."""
    n = len(gain) // groups
    wide = np.asarray(gain, np.float64)
    exponent = math.frexp(float(np.abs(wide).max()))[1]
    product = np.floor(np.ldexp(wide, 30 - exponent) + 0.5).astype(np.int64) * math.isqrt(n << 40)
    amax = int(np.abs(product).max())
    drop = max(amax.bit_length() - 30, 0)
    return Gain(
        rshift(product, drop).astype(np.int32),
        exponent + drop - 20,
        int(Fraction(repr(float(eps))) * (n << 40) + Fraction(1, 2)),
    )


def normalize(x: np.ndarray, input_fraction: int, gain: Gain) -> np.ndarray:
    """Divide rows of x (M, n) by their length, x * rsqrt(sum(x^2) + n * eps): int64 in Q30, |value| <= 2^30 + 1026."""
    x = np.asarray(x, np.int64)
    amax = np.abs(x).max(axis=1)
    s, t = shift_for(amax, 20), shift_for(amax, 31)
    squares = (rshift(x, s[:, None]) ** 2).sum(axis=1)
    epsilon = rshift(np.int64(gain.epsilon), 2 * (20 - input_fraction))
    v = np.clip(squares + rshift(np.full_like(s, epsilon), 2 * s), 1, None)
    r, p = (np.array(part, np.int64) for part in zip(*(inverse_sqrt(int(n)) for n in v), strict=True))
    return rshift(rshift(x, t[:, None]) * r[:, None], (31 - p + s - t)[:, None])


def rmsnorm(x: np.ndarray, input_fraction: int, gain: Gain, output_fraction: int, groups: int = 1) -> np.ndarray:
    """Apply RMSNorm to rows x (M, n) with `input_fraction` bits: int64 with `output_fraction` bits, not saturated.

    If `groups` is above 1, each run of n / groups columns is normalised separately.
    """
    unit = normalize(x.reshape(len(x) * groups, -1), input_fraction, gain).reshape(x.shape)
    return rshift(unit * gain.factor, 60 - gain.exponent - output_fraction)


def layer_norm(x: np.ndarray, gain: Gain, bias: np.ndarray | None) -> np.ndarray:
    """Apply a layer norm to rows x (M, n), Q20 clipped to 46 bits, with bias (n,) in Q20: int64, Q20, not saturated."""
    x = np.clip(np.asarray(x, np.int64), -CENTERED_LIMIT, CENTERED_LIMIT)
    n = x.shape[1]
    mean = (2 * x.sum(axis=1, keepdims=True) + n) // (2 * n)
    y = rmsnorm(x - mean, 20, gain, 20)
    return y if bias is None else y + bias
