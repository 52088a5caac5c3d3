"""Rotary position embedding in integer arithmetic (docs/spec/numerics.md, section 6).

A frequency is a 64-bit fraction of a turn, so the angle of any position is exact except for the frequency's rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.numerics.fixed import rshift, sat32

PRECISION = 160  # fraction bits of the Python integers in which frequencies are computed
UNIT = 1 << PRECISION

SCALINGS = ("linear", "llama3", "yarn", "longrope")
"""The supported kinds of scaling of rotary frequencies."""

# sin(pi/4 u) / u and cos(pi/4 u) for u in [0, 1], as polynomials in u^2 with coefficients in Q30
SINE = (843314857, -86699833, 2674039, -39269, 332)
COSINE = (1073741824, -331168967, 17023452, -349974, 3790)


def _series(x: int, sign: int) -> int:
    """Return the sum of sign^i x^(2i+1) / (2i+1): atanh(x) for sign 1, atan(x) for sign -1; x in Q160, |x| <= 1/3."""
    square, power, total, n = x * x >> PRECISION, x, 0, 1
    while power:
        total += power // n if sign > 0 or n % 4 == 1 else -(power // n)
        power = power * square >> PRECISION
        n += 2
    return total


@functools.cache
def pi() -> int:
    """Return pi in Q160, by Machin's formula."""
    return 16 * _series(UNIT // 5, -1) - 4 * _series(UNIT // 239, -1)


def ln(x: Fraction) -> int:
    """Return the natural logarithm of x >= 1, in Q160."""
    whole = int(x).bit_length() - 1
    numerator, denominator = x.numerator, x.denominator << whole
    mantissa = 2 * _series(UNIT * (numerator - denominator) // (numerator + denominator), 1)
    return mantissa + whole * 2 * _series(UNIT // 3, 1)


def exp(x: int) -> int:
    """Return exp(x) for x <= 0 in Q160, as Q160."""
    halvings = 16
    x >>= halvings
    term = total = UNIT
    n = 1
    while term not in (0, -1):
        term = (term * x >> PRECISION) // n
        total += term
        n += 1
    for _ in range(halvings):
        total = total * total >> PRECISION
    return total


def inverse_frequencies(base: float, dimension: int) -> list[Fraction]:
    """Return base^(-2i / dimension) for i < dimension / 2: radians per position, accurate to about 2^-140."""
    logarithm = ln(Fraction(repr(float(base))))
    return [Fraction(exp(-(logarithm * 2 * i // dimension)), UNIT) for i in range(dimension // 2)]


def turns(radians: Sequence[Fraction]) -> np.ndarray:
    """Convert angular frequencies in radians per position to 64-bit fractions of a turn, uint64 (n,)."""
    two_pi = Fraction(2 * pi(), UNIT)
    return np.array([int(f / two_pi * 2**64 + Fraction(1, 2)) % 2**64 for f in radians], np.uint64)


def _logarithm(x: Fraction) -> Fraction:
    """Return the natural logarithm of x > 0, accurate to about 2^-150."""
    return Fraction(ln(x), UNIT) if x >= 1 else -Fraction(ln(1 / x), UNIT)


def _exact(scaling: Mapping[str, Any], key: str, default: float | None = None) -> Fraction:
    value = scaling.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ModelError(f"rope scaling: {key} must be a positive number, found {value!r}")
    return Fraction(repr(float(value)))


def _llama3(frequencies: list[Fraction], scaling: Mapping[str, Any]) -> list[Fraction]:
    """Divide low frequencies by the factor, keep high ones, and blend in between (Llama 3.1)."""
    factor, original = _exact(scaling, "factor"), _exact(scaling, "original")
    low, high = _exact(scaling, "low_freq_factor", 1.0), _exact(scaling, "high_freq_factor", 4.0)
    if low >= high:
        raise ModelError(f"rope scaling: low_freq_factor {float(low)} must be less than high_freq_factor {float(high)}")
    out = []
    for f in frequencies:
        turns_in_context = original * f * UNIT / (2 * pi())
        blend = min(max((turns_in_context - low) / (high - low), Fraction(0)), Fraction(1))
        out.append(f * (blend + (1 - blend) / factor))
    return out


def _yarn(frequencies: list[Fraction], scaling: Mapping[str, Any], base: float) -> list[Fraction]:
    """Divide low frequencies by the factor, keep high ones, and blend in between by index (YaRN, 2309.00071)."""
    factor, original, width = _exact(scaling, "factor"), _exact(scaling, "original"), 2 * len(frequencies)
    per_turn = width / (2 * _logarithm(Fraction(repr(float(base)))))

    def index_of(turns_in_context: Fraction) -> Fraction:
        """Return the fractional index of the frequency that completes this many turns within the original context."""
        return per_turn * _logarithm(original * UNIT / (turns_in_context * 2 * pi()))

    low, high = index_of(_exact(scaling, "beta_fast", 32.0)), index_of(_exact(scaling, "beta_slow", 1.0))
    if scaling.get("truncate", True):
        low, high = Fraction(math.floor(low)), Fraction(math.ceil(high))
    low, high = max(low, Fraction(0)), min(high, Fraction(width - 1))
    high += Fraction(1, 1000) if low == high else 0
    if low > high:
        raise ModelError("rope scaling: beta_fast must be at least beta_slow")
    blends = [min(max((i - low) / (high - low), Fraction(0)), Fraction(1)) for i in range(len(frequencies))]
    return [f * (1 - blend + blend / factor) for f, blend in zip(frequencies, blends, strict=True)]


def attention_factor(scaling: Mapping[str, Any]) -> Fraction:
    """Return the multiplier of a scaled rotation's sines and cosines, as the float32 that GGUF files store.

    For YaRN it is ``m(1) / m(mscale_all_dim)`` or, given `mscale`, ``m(mscale) / m(mscale_all_dim)``, with
    ``m(s) = 1 + s ln(factor) / 10`` (without `mscale_all_dim` the divisor is 1); for longrope it is
    ``sqrt(1 + ln(factor) / ln(original))``. The key `attention_factor` replaces either. For other kinds, it is 1.
    """
    kind = scaling.get("type")
    if kind not in ("yarn", "longrope"):
        return Fraction(1)
    if scaling.get("attention_factor") is not None:
        exact = _exact(scaling, "attention_factor")
    elif (factor := _exact(scaling, "factor")) <= 1:
        exact = Fraction(1)
    elif kind == "yarn":
        part, both = _logarithm(factor) / 10, scaling.get("mscale") and scaling.get("mscale_all_dim")
        exact = 1 + part * (_exact(scaling, "mscale") if both else 1)
        exact /= 1 + part * _exact(scaling, "mscale_all_dim") if both else 1
    else:
        square = 1 + _logarithm(factor) / _logarithm(_exact(scaling, "original"))
        exact = Fraction(math.isqrt((square.numerator << 2 * PRECISION) // square.denominator), UNIT)
    exact *= _exact(scaling, "factor_of_scores", 1.0)
    if not Fraction(1, 128) <= exact < Fraction(7, 4):
        raise ModelError(f"rope scaling: an attention factor of {float(exact):.6g} is beyond 1/128 to 7/4")
    return Fraction(float(np.float32(float(exact))))


def score_magnitude(scaling: Mapping[str, Any]) -> Fraction:
    """Return ``1 + mscale_all_dim ln(factor) / 10`` as a float32 for YaRN with that key; 1 for all other scalings.

    DeepSeek's scores are multiplied by its square.
    """
    if scaling.get("type") != "yarn" or not scaling.get("mscale_all_dim") or (factor := _exact(scaling, "factor")) <= 1:
        return Fraction(1)
    return Fraction(float(np.float32(float(1 + _exact(scaling, "mscale_all_dim") * _logarithm(factor) / 10))))


def rotation(
    base: float, width: int, scaling: Mapping[str, Any], factors: NDArray[np.float32] | None = None
) -> NDArray[np.uint64]:
    """Return the frequencies of a kind of rotary layer as fractions of a turn, uint64 (width / 2,).

    Parameters
    ----------
    scaling : mapping
        Empty, or `type` ('linear', 'llama3', 'yarn', 'longrope') with its parameters.
    factors : float32 (width / 2,), optional
        Divisors that the checkpoint lists explicitly (GGUF's rope_freqs.weight; longrope's long or short factors).
    """
    frequencies = inverse_frequencies(base, width)
    if factors is not None:
        if len(factors) != len(frequencies) or not np.all(np.isfinite(factors)) or np.any(factors <= 0):
            raise ModelError(f"rope_freqs.weight or longrope's factors: expected {len(frequencies)} positive numbers")
        frequencies = [f / Fraction(float(d)) for f, d in zip(frequencies, factors, strict=True)]
    kind = scaling.get("type")
    if kind == "linear":
        frequencies = [f / _exact(scaling, "factor") for f in frequencies]
    elif kind == "llama3":
        frequencies = _llama3(frequencies, scaling)
    elif kind == "yarn":
        frequencies = _yarn(frequencies, scaling, base)
    elif kind == "longrope":
        if factors is None:
            raise ModelError("rope scaling of type longrope: its lists of factors are missing")
    elif kind is not None:
        raise ModelError(f"rope scaling of type {kind!r} is not supported; expected {', '.join(SCALINGS)}")
    return turns(frequencies)


def sine_cosine(
    positions: np.ndarray, frequency: np.ndarray, factor: Fraction = Fraction(1)
) -> tuple[np.ndarray, np.ndarray]:
    """Return sine and cosine, int64 in Q30, shape (positions, frequencies), of positions (M,) times turns (n,).

    Both are multiplied by the factor, in Q30, and rounded again.
    """
    angle = positions.astype(np.uint64)[:, None] * frequency[None, :]
    quadrant = (angle + np.uint64(1 << 61)) >> np.uint64(62)
    u = rshift((angle - (quadrant << np.uint64(62))).astype(np.int64), 31)
    square = rshift(u * u, 30)

    def horner(coefficients: tuple[int, ...]) -> np.ndarray:
        acc = np.full(square.shape, coefficients[-1], np.int64)
        for coefficient in coefficients[-2::-1]:
            acc = rshift(acc * square, 30) + coefficient
        return acc

    sine, cosine = rshift(u * horner(SINE), 30), horner(COSINE)
    quadrant = (quadrant & np.uint64(3)).astype(np.int64)
    sine, cosine = np.where(quadrant & 1, cosine, sine), np.where(quadrant & 1, sine, cosine)
    sine, cosine = np.where(quadrant & 2, -sine, sine), np.where((quadrant + 1) & 2, -cosine, cosine)
    if factor == 1:
        return sine, cosine
    q30 = factor_q30(factor)
    return rshift(sine * q30, 30), rshift(cosine * q30, 30)


def factor_q30(factor: Fraction) -> int:
    """Convert a factor of sines and cosines to Q30."""
    return int(factor * (1 << 30) + Fraction(1, 2))


def rotate(x: np.ndarray, sine: np.ndarray, cosine: np.ndarray, interleaved: bool) -> np.ndarray:
    """Rotate heads x (M, H, d) in Q16 by angles (M, r/2), r <= d; saturated int32.

    Pairs are (2i, 2i + 1) if interleaved, otherwise (i, i + r/2); components from r onwards are unchanged.
    """
    half = sine.shape[1]
    first = slice(0, 2 * half, 2) if interleaved else slice(0, half)
    second = slice(1, 2 * half, 2) if interleaved else slice(half, 2 * half)
    out = np.array(x, np.int64)
    a, b = out[:, :, first].copy(), out[:, :, second].copy()
    s, c = sine[:, None, :], cosine[:, None, :]
    out[:, :, first] = sat32(rshift(a * c - b * s, 30))
    out[:, :, second] = sat32(rshift(a * s + b * c, 30))
    return out
