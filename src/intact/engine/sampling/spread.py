"""The entropy of a row's whole distribution, and its divergence from the uniform one (docs/spec/numerics.md)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from intact.numerics.fixed import rshift
from intact.numerics.functions import LN2, LOG2E, exp2_neg, log2_fixed


class Spread(NamedTuple):
    """Two measures of the distribution over all tokens at temperature 1, in nats times 2^24, both at least 0.

    Attributes
    ----------
    entropy : int
        `-sum_j p_j ln p_j`.
    certainty : int
        `-(1 / V) sum_j ln(V p_j)` over the V tokens, the divergence of the uniform distribution from it: minus the mean
        log-probability, less ln V.
    """

    entropy: int
    certainty: int


def spread_of(logits: np.ndarray) -> Spread:
    """Return the spread of a row of logits (V,) in Q16, from the same probabilities as reported logprobs."""
    logits = np.asarray(logits, np.int64)
    count = len(logits)
    gap = logits.max() - logits
    weight = exp2_neg(rshift(gap * LOG2E, 30))
    mass = int(weight.sum())
    log_mass = _nats(log2_fixed(mass) - (30 << 28))
    product = weight * gap  # each below 2^51, for up to 2^24 tokens, so summed in two parts
    moment = (int((product >> 16).sum()) << 16) + int((product & 0xFFFF).sum())
    entropy = log_mass + ((moment << 9) + mass) // (2 * mass)
    certainty = log_mass + ((int(gap.sum()) << 9) + count) // (2 * count) - _nats(log2_fixed(count))
    return Spread(entropy, max(0, certainty))


def _nats(bits: int) -> int:
    """Convert a logarithm from base 2 in Q28 to base e in Q24."""
    return (bits * LN2 + (1 << 33)) >> 34
