"""Drawing tokens in integers: keys, filters, the inverse distribution function (docs/numerics.md, section 10)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from intact.numerics.fixed import rshift
from intact.numerics.functions import LN2, LOG2E, exp2_neg, log2_fixed

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1
DECIMALS = 10**6


class Sampling(NamedTuple):
    """Sampling parameters as exact numbers.

    Attributes
    ----------
    slope : int
        log2(e) / temperature in Q30 (0 for greedy decoding).
    top_k : int
        Keep the k largest logits, ties by token id (0: all).
    top_p, min_p : int
        Millionths: the least set of largest weights that holds top_p of the mass; weights from min_p of the largest.
    """

    slope: int = 0
    top_k: int = 0
    top_p: int = DECIMALS
    min_p: int = 0


def decimal(value: float) -> Fraction:
    """The decimal number that repr shows, which must have at most 6 decimals."""
    exact = Fraction(repr(value))
    if (exact * DECIMALS).denominator != 1:
        raise ValueError(f"at most 6 decimals are allowed, got {value!r}")
    return exact


def make_sampling(temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Sampling:
    """Turn checked parameters into exact integers."""
    heat = decimal(temperature)
    slope = int(Fraction(LOG2E) / heat + Fraction(1, 2)) if heat else 0
    return Sampling(slope, top_k, int(decimal(top_p) * DECIMALS), int(decimal(min_p) * DECIMALS))


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10 (Salmon et al., 2011, Parallel random numbers: as easy as 1, 2, 3)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (product1 >> 32) ^ c1 ^ k0, product1 & MASK32, (product0 >> 32) ^ c3 ^ k1, product0 & MASK32
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return c0, c1, c2, c3


def branch_key(seed: int, branch: Sequence[str | int]) -> int:
    """The 64-bit key of a branch: the first 8 bytes of SHA-256 over the seed and the path, little-endian.

    The hashed text is the decimal seed, then for each part of the path its UTF-8 length and itself: "7|3:abc|1:0".
    """
    parts = [str(seed)] + [f"{len(str(part).encode())}:{part}" for part in branch]
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:8], "little")


def uniform64(key: int, position: int) -> int:
    """The 64-bit uniform of a position: words 0 (low) and 1 (high) of Philox at counter (position, 0, 0, 0)."""
    words = philox4x32((position & MASK32, position >> 32, 0, 0), (key & MASK32, key >> 32))
    return words[0] | words[1] << 32


def log_probability(logits: np.ndarray, token: int) -> int:
    """Natural log of the softmax probability of a token, logits (V,) in Q16; Q24, at most 0 but for rounding."""
    logits = np.asarray(logits, np.int64)
    gap = logits.max() - logits
    mass = int(exp2_neg(rshift(gap * LOG2E, 30)).sum())
    log_mass = ((log2_fixed(mass) - (30 << 28)) * LN2 + (1 << 33)) >> 34
    return -(int(gap[token]) << 8) - log_mass


def weights(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Unnormalised probabilities after the filters, int64 (V,): the largest is 2^30, filtered tokens have 0."""
    gap = int(np.max(logits)) - np.asarray(logits, np.int64)
    weight = exp2_neg(rshift(np.minimum(gap, (1 << 61) // sampling.slope) * sampling.slope, 30))
    order = np.lexsort((np.arange(len(gap)), gap))
    keep = len(order)
    if sampling.top_k:
        keep = min(keep, sampling.top_k)
    if sampling.top_p < DECIMALS:
        mass = np.cumsum(weight[order[:keep]])
        # Python integers: the products pass 2^63
        needed = (int(mass[-1]) * sampling.top_p + DECIMALS - 1) // DECIMALS
        keep = int(np.searchsorted(mass, needed, side="left")) + 1
    kept = np.zeros_like(weight)
    kept[order[:keep]] = weight[order[:keep]]
    floor = ((1 << 30) * sampling.min_p + DECIMALS - 1) // DECIMALS
    return np.where(kept >= floor, kept, 0)


def draw(logits: np.ndarray, sampling: Sampling, key: int, position: int) -> int:
    """The token at a position: the first of the largest, or the inverse distribution function at one uniform."""
    if not sampling.slope:
        return int(np.argmax(logits))
    mass = np.cumsum(weights(logits, sampling))
    target = uniform64(key, position) * int(mass[-1]) >> 64
    return int(np.searchsorted(mass, target, side="right"))
