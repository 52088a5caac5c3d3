"""Token sampling in integers: keys, filters, inverse distribution function (docs/spec/numerics.md, section 10)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import LN2, LOG2E, exp2_neg, log2_fixed

Tokens = NDArray[np.int32]

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1
DECIMALS = 10**6
LOGPROB_SCALE = 1 << 24
"""Factor from nats to integer log-probabilities."""
CLOSE: Final = 1 << 10
"""Distance to a bound, in Q24, within which a log-probability is not trusted to decide; far more than its rounding
error.
"""
NONE: Tokens = np.zeros(0, np.int32)


class Sampling(NamedTuple):
    """Sampling parameters as exact numbers.

    Attributes
    ----------
    slope : int
        log2(e) / temperature in Q30 (0 for greedy decoding).
    top_k : int
        Keep the k largest logits, with ties broken by token id (0: all).
    top_p, min_p, typical : int
        In millionths. top_p keeps the smallest set of the largest weights that holds this share of the mass; min_p
        keeps weights of at least this share of the largest weight; typical keeps the smallest set of the tokens nearest
        to the entropy that holds this share of the mass (Meister et al. 2023).
    """

    slope: int = 0
    top_k: int = 0
    top_p: int = DECIMALS
    min_p: int = 0
    typical: int = DECIMALS


class Edits(NamedTuple):
    """Exact changes to one row's logits before a draw, applied in the order of the fields.

    Each list contains a token at most once.

    Attributes
    ----------
    biased, bias : int32 (b,)
        Tokens, and the amount added to each in Q16.
    repetition : int
        Repetition penalty in millionths: positive logits are divided by it, others multiplied (Keskar et al. 2019).
    repeated : int32 (r,)
        Tokens to which the repetition penalty applies.
    presence, frequency : int
        Penalties in millionths: subtracted once, and once for each time that a token was drawn.
    drawn, counts : int32 (c,)
        Tokens to which these penalties apply, and the number of times each was drawn.
    forbidden : int32 (f,)
        Tokens that may not be drawn.
    """

    biased: Tokens = NONE
    bias: Tokens = NONE
    repetition: int = DECIMALS
    repeated: Tokens = NONE
    presence: int = 0
    frequency: int = 0
    drawn: Tokens = NONE
    counts: Tokens = NONE
    forbidden: Tokens = NONE


class Draw(NamedTuple):
    """A request to draw one token.

    Attributes
    ----------
    row : int
        The row of logits; several draws may use the same row.
    key, position : int
        The branch's key, and the token's position in the sequence.
    mask : uint32 (ceil(vocabulary / 32),) or None
        Token t may be drawn if bit t % 32 of word t // 32 is set; bits beyond the vocabulary are ignored.
    """

    row: int
    sampling: Sampling
    key: int
    position: int
    edits: Edits | None = None
    mask: NDArray[np.uint32] | None = None


def decimal(value: float) -> Fraction:
    """Return the decimal number in a float's repr, which must have at most 6 decimal places."""
    exact = Fraction(repr(value))
    if (exact * DECIMALS).denominator != 1:
        raise ValueError(f"at most 6 decimals are allowed, got {value!r}")
    return exact


def millionths(value: float) -> int:
    """Convert a decimal number with at most 6 decimal places to millionths."""
    return int(decimal(value) * DECIMALS)


def make_sampling(
    temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, typical: float = 1.0
) -> Sampling:
    """Convert validated parameters to exact integers."""
    heat = decimal(temperature)
    slope = int(Fraction(LOG2E) / heat + Fraction(1, 2)) if heat else 0
    return Sampling(slope, top_k, millionths(top_p), millionths(min_p), millionths(typical))


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return one block of Philox4x32-10 (Salmon et al., 2011, Parallel random numbers: as easy as 1, 2, 3)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (product1 >> 32) ^ c1 ^ k0, product1 & MASK32, (product0 >> 32) ^ c3 ^ k1, product0 & MASK32
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return c0, c1, c2, c3


def branch_key(seed: int, branch: Sequence[str | int]) -> int:
    """Return the 64-bit key of a branch: the first 8 bytes of SHA-256 over the seed and the path, little-endian.

    The hashed text is the decimal seed followed by each part of the path with its UTF-8 length: "7|3:abc|1:0".
    """
    parts = [str(seed)] + [f"{len(str(part).encode())}:{part}" for part in branch]
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:8], "little")


def uniform64(key: int, position: int) -> int:
    """Return the 64-bit uniform of a position: words 0 (low) and 1 (high) of Philox at counter (position, 0, 0, 0)."""
    words = philox4x32((position & MASK32, position >> 32, 0, 0), (key & MASK32, key >> 32))
    return words[0] | words[1] << 32


def log_probability(logits: np.ndarray, token: int) -> int:
    """Return a token's natural log-probability in Q24, at most 0 except for rounding; logits (V,) in Q16."""
    logits = np.asarray(logits, np.int64)
    log_mass = ((log2_fixed(total_weight(logits)) - (30 << 28)) * LN2 + (1 << 33)) >> 34
    return -(int(logits.max() - logits[token]) << 8) - log_mass


def total_weight(logits: np.ndarray) -> int:
    """Return the sum of a row's weights at temperature 1, scaled so that the largest is 2^30; logits (V,) in Q16."""
    logits = np.asarray(logits, np.int64)
    return int(exp2_neg(rshift((logits.max() - logits) * LOG2E, 30)).sum())


def is_uncertain(logits: np.ndarray, bound: int, logprob: int | None = None) -> bool:
    """Return true if the most likely token's probability at temperature 1 is below `bound` millionths.

    Parameters
    ----------
    logprob : int, optional
        The token's log-probability, if known; it is almost always decisive, which saves computing the sum.
    """
    if logprob is not None and bound:
        distance = logprob - math.log(bound / DECIMALS) * LOGPROB_SCALE
        if abs(distance) > CLOSE:
            return distance < 0
    return bound * total_weight(logits) > (1 << 30) * DECIMALS


def entropy(logprobs: Sequence[int]) -> int:
    """Return the entropy in bits, Q16, of the tokens with these log-probabilities (Q24), ignoring all other tokens."""
    given = np.array(logprobs, np.int64)
    surprisal = rshift(((given.max() - given) >> 8) * LOG2E, 30)
    weight = exp2_neg(surprisal)
    mass = int(weight.sum())
    return ((log2_fixed(mass) - (30 << 28)) >> 12) + int((weight * surprisal).sum()) // mass


def edit(logits: np.ndarray, edits: Edits) -> np.ndarray:
    """Return the logits (V,) after the edits, int64; forbidding a token does not change its logit."""
    logits = np.array(logits, np.int64)
    logits[edits.biased] = sat32(logits[edits.biased] + edits.bias)
    z, r = logits[edits.repeated], edits.repetition
    divided, multiplied = (2 * z * DECIMALS + r) // (2 * r), (2 * z * r + DECIMALS) // (2 * DECIMALS)
    logits[edits.repeated] = sat32(np.where(z > 0, divided, multiplied))
    penalty = (edits.counts.astype(np.int64) * edits.frequency + edits.presence) * 65536
    logits[edits.drawn] = sat32(logits[edits.drawn] - (2 * penalty + DECIMALS) // (2 * DECIMALS))
    return logits


def allowed(count: int, edits: Edits | None, mask: np.ndarray | None) -> np.ndarray:
    """Return a mask of the tokens that may be drawn, bool (count,)."""
    may = np.ones(count, bool)
    if mask is not None:
        may &= np.unpackbits(np.asarray(mask, "<u4").view(np.uint8), bitorder="little")[:count].astype(bool)
    if edits is not None:
        may[edits.forbidden] = False
    return may


def least_weight(share: int) -> int:
    """Return the smallest weight that is at least `share` millionths of the largest, 2^30."""
    return ((1 << 30) * share + DECIMALS - 1) // DECIMALS


def shortest(weight: np.ndarray, order: np.ndarray, share: int) -> np.ndarray:
    """Return the shortest prefix of `order` that holds `share` millionths of its total mass."""
    if share == DECIMALS:
        return order
    mass = np.cumsum(weight[order])
    # Python integers, because the products exceed 2^63
    needed = (int(mass[-1]) * share + DECIMALS - 1) // DECIMALS
    return order[: int(np.searchsorted(mass, needed, side="left")) + 1]


def weights(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return unnormalised probabilities after the filters, int64 (V,): the largest is 2^30, filtered tokens have 0."""
    gap = int(np.max(logits)) - np.asarray(logits, np.int64)
    surprisal = rshift(np.minimum(gap, (1 << 61) // sampling.slope) * sampling.slope, 30)
    weight = exp2_neg(surprisal)
    order = np.lexsort((np.arange(len(gap)), gap))
    if sampling.top_k:
        order = order[: sampling.top_k]
    order = shortest(weight, order, sampling.top_p)
    order = order[weight[order] >= least_weight(sampling.min_p)]
    if sampling.typical < DECIMALS:
        order = order[weight[order] > 0]
        moment = int(((weight[order] * surprisal[order]) >> 8).sum()) << 8
        distance = np.abs(surprisal - moment // int(weight[order].sum()))
        order = order[np.argsort(distance[order], kind="stable")]
        order = shortest(weight, order, sampling.typical)
    kept = np.zeros_like(weight)
    kept[order] = weight[order]
    return kept


def draw(
    logits: np.ndarray,
    sampling: Sampling,
    key: int,
    position: int,
    edits: Edits | None = None,
    mask: np.ndarray | None = None,
) -> int:
    """Draw the token at a position: the first maximum if greedy, otherwise by the inverse distribution function.

    The inverse is evaluated at one uniform number. Return -1 if the edits and the mask leave no token.
    """
    logits = np.asarray(logits, np.int64) if edits is None else edit(logits, edits)
    ids = np.flatnonzero(allowed(len(logits), edits, mask))
    if not len(ids):
        return -1
    if not sampling.slope:
        return int(ids[np.argmax(logits[ids])])
    mass = np.cumsum(weights(logits[ids], sampling))
    target = uniform64(key, position) * int(mass[-1]) >> 64
    return int(ids[np.searchsorted(mass, target, side="right")])


def top(logits: np.ndarray, k: int) -> np.ndarray:
    """Return the k tokens with the largest logits, ties by lowest id, int32 (k,)."""
    return np.argsort(-np.asarray(logits, np.int64), kind="stable")[:k].astype(np.int32)
