"""Divergence of one model's next-token distributions from another's, in integers: the same figures everywhere.

Logits are taken in Q16. Probabilities are `exp2_neg_fine` of `intact.numerics.functions`, in Q30, within 1e-7 of
themselves; sums are exact. The last step, a logarithm for each position, is rounded as `intact._base.exact` defines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.exact import ln
from intact.numerics.fixed import rshift
from intact.numerics.functions import LOG2E, exp2_neg_fine

Int = NDArray[np.int64]


class Divergence(NamedTuple):
    """For each position."""

    kl: NDArray[np.float64]
    """KL(source || other), nats."""
    same: NDArray[np.bool_]
    """If true, both have the same likeliest token (of equals the least)."""
    loss: NDArray[np.float64]
    """-log of the probability that `other` gives the text's next token, nats."""
    source_loss: NDArray[np.float64]
    """The same of `source`."""


def compare(source: NDArray[np.int32], other: NDArray[np.int32], tokens: NDArray[np.int64]) -> Divergence:
    """Compare two models' logits at the same positions.

    Parameters
    ----------
    source, other : int32 (rows, vocabulary)
        Logits in Q16.
    tokens : int64 (rows,)
        The tokens that follow.
    """
    kl, loss, source_loss = np.zeros((3, len(source)))
    for i in range(len(source)):
        z, y = source[i].astype(np.int64), other[i].astype(np.int64)
        p, p_sum = _weights(z)
        _, q_sum = _weights(y)
        most_z, most_y = int(z.max()), int(y.max())
        # KL = sum p (z - y) - log sum exp z + log sum exp y, both about their largest
        mean = int((p * ((z - most_z) - (y - most_y))).sum()) / p_sum / (1 << 16)
        log_p, log_q = ln(p_sum / (1 << 30)), ln(q_sum / (1 << 30))
        kl[i] = max(0.0, mean - log_p + log_q)
        loss[i] = (most_y - int(y[tokens[i]])) / (1 << 16) + log_q
        source_loss[i] = (most_z - int(z[tokens[i]])) / (1 << 16) + log_p
    same = source.argmax(axis=1) == other.argmax(axis=1)
    return Divergence(kl, same, loss, source_loss)


def _weights(z: Int) -> tuple[Int, int]:
    """Return exp(z - max z) in Q30, and its sum."""
    weights = exp2_neg_fine(rshift((z.max() - z) * LOG2E, 16))
    return weights, int(weights.sum())
