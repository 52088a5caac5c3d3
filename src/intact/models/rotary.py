"""Rotary frequencies with the published ways to stretch them, in exact rational arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.errors import ModelError
from intact.numerics.rope import UNIT, inverse_frequencies, pi, turns


def _exact(scaling: Mapping[str, Any], key: str, default: float | None = None) -> Fraction:
    value = scaling.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ModelError(f"rope scaling: {key} must be a positive number, found {value!r}")
    return Fraction(repr(float(value)))


def _llama3(frequencies: list[Fraction], scaling: Mapping[str, Any]) -> list[Fraction]:
    """Long waves are stretched by the factor, short ones kept, those between blended (Llama 3.1)."""
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


def rotation(
    base: float, width: int, scaling: Mapping[str, Any], factors: NDArray[np.float32] | None = None
) -> NDArray[np.uint64]:
    """Frequencies of a kind of rotary layer as fractions of a turn, uint64 (width / 2,).

    Parameters
    ----------
    scaling : mapping
        Empty, or `type` ('linear', 'llama3') with its own numbers.
    factors : float32 (width / 2,), optional
        Divisors that the checkpoint itself lists (GGUF's rope_freqs.weight).
    """
    frequencies = inverse_frequencies(base, width)
    if factors is not None:
        if len(factors) != len(frequencies) or not np.all(np.isfinite(factors)) or np.any(factors <= 0):
            raise ModelError(f"rope_freqs.weight: expected {len(frequencies)} positive numbers")
        frequencies = [f / Fraction(float(d)) for f, d in zip(frequencies, factors, strict=True)]
    kind = scaling.get("type")
    if kind == "linear":
        frequencies = [f / _exact(scaling, "factor") for f in frequencies]
    elif kind == "llama3":
        frequencies = _llama3(frequencies, scaling)
    elif kind is not None:
        raise ModelError(f"rope scaling of type {kind!r} is not supported; expected linear or llama3")
    return turns(frequencies)
