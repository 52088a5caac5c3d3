"""Mixes of rows of logits: one draw from two or three combined distributions, in integers (docs/spec/mixes.md).

Each rule takes rows of logits in Q16 over one vocabulary and returns the row to draw from, int64 (V,). Parameters
are integers; decimals are given in millionths. Divisions round half up unless a rule says otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import LIMIT, rshift, sat32
from intact.numerics.functions import LN2, LOG2E, exp2_neg, log2_each
from intact.numerics.sampling import DECIMALS, is_uncertain, least_weight

Row = NDArray[np.int64]

LEFT_OUT = -LIMIT
"""The logit of a token that a rule excludes; its weight is 0 at every temperature."""
_FLAT = 64 << 16
"""Gap to the largest logit at or above which every weight is 0."""


class Place(NamedTuple):
    """The position in a sequence for which a row is computed.

    Attributes
    ----------
    may : bool (V,)
        The tokens that edits and constraint allow at this position.
    drawn : int
        Number of tokens drawn before this position.
    """

    may: NDArray[np.bool_]
    drawn: int


def guidance(conditional: Row, unconditional: Row, place: Place, *, scale: int) -> Row:
    """Return u + scale * (c - u): classifier-free guidance (Sanchez et al. 2023, arXiv 2306.17806)."""
    return sat32(unconditional + scaled(conditional - unconditional, scale))


def contrastive(expert: Row, amateur: Row, place: Place, *, beta: int, alpha: int) -> Row:
    """Return e + beta * (e - a) for tokens that are plausible to the expert (O'Brien and Lewis 2023, 2309.09117)."""
    mixed = sat32(expert + scaled(expert - amateur, beta))
    return np.where(plausible(expert, alpha, place.may), mixed, LEFT_OUT)


def proxy(base: Row, tuned: Row, untuned: Row, place: Place, *, scale: int) -> Row:
    """Return b + scale * (t - u): proxy tuning (Liu et al. 2024, arXiv 2401.08565)."""
    return sat32(base + scaled(tuned - untuned, scale))


def m3id(conditional: Row, unconditional: Row, place: Place, *, decay: int, cap: int, alpha: int, certain: int) -> Row:
    """Return c + k * (c - u), where k grows with the sequence (Favero et al. 2024, arXiv 2403.14003).

    k = min(cap, (1 - g) / g) with g = exp(-decay * drawn), rounded down to Q16. The result is c unchanged if its most
    likely token has a probability of at least `certain`.
    """
    if not is_uncertain(conditional, certain):
        return conditional
    k = amplification(place.drawn, decay, cap)
    mixed = sat32(conditional + rshift((conditional - unconditional) * k, 16))
    return np.where(plausible(conditional, alpha, place.may), mixed, LEFT_OUT)


def uscd(standard: Row, lame: Row, place: Place, *, deviation: int, floor: int, weight: int, contrast: int) -> Row:
    """Return ln(weight * p - contrast * q) where p is uncertain (Wang et al. 2024, arXiv 2409.05923).

    p and q are the probabilities of the two rows, in Q32 rounded down. The result is the standard row unchanged if the
    standard deviation of p over the vocabulary exceeds `deviation`, or if no token would remain. Tokens with p < floor
    / V or without a positive difference are excluded.
    """
    p, q = _weights(standard), _weights(lame)
    size, mass = len(p), int(p.sum())
    spread = (size * _sum_of_squares(p) - mass * mass) * DECIMALS**2
    if spread > (deviation * size * mass) ** 2:
        return standard
    difference = (p << 32) // mass * weight - (q << 32) // int(q.sum()) * contrast
    kept = (p >= -(-floor * mass // (size * DECIMALS))) & (difference > 0)
    if not (kept & place.may).any():
        return standard
    mixed = np.full(size, LEFT_OUT, np.int64)
    mixed[kept] = rshift(rshift(log2_each(difference[kept]), 8) * LN2, 34)
    return mixed


def amplification(drawn: int, decay: int, cap: int) -> int:
    """Return min(cap, (1 - g) / g) in Q16, g = exp(-decay * drawn)."""
    most = (cap << 16) // DECIMALS
    exponent = (2 * decay * drawn * LOG2E + DECIMALS * (1 << 14)) // (DECIMALS << 15)
    g = int(exp2_neg(np.array(min(exponent, 31 << 16))))
    return min(most, (((1 << 30) - g) << 16) // g) if g else most


def plausible(logits: Row, share: int, may: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return true for each token with at least `share` millionths of the most likely allowed token's probability."""
    gap = np.maximum(logits[may].max(initial=-LIMIT) - logits, 0)
    return exp2_neg(rshift(np.minimum(gap, _FLAT) * LOG2E, 30)) >= least_weight(share)


def scaled(x: Row, factor: int) -> Row:
    """Return x times a factor in millionths, |x| < 2^33, factor <= 10^8."""
    return (2 * x * factor + DECIMALS) // (2 * DECIMALS)


def _weights(logits: Row) -> Row:
    """Return unnormalised probabilities, the largest of them 2^30."""
    gap = np.minimum(logits.max() - logits, _FLAT)
    return exp2_neg(rshift(gap * LOG2E, 30))


def _sum_of_squares(weights: Row) -> int:
    """Return the sum of squares of weights up to 2^30 as an exact integer."""
    high, low = weights >> 15, weights & 32767
    return (int((high * high).sum()) << 30) + (int((high * low).sum()) << 16) + int((low * low).sum())
