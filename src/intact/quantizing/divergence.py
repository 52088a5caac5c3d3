"""Divergence between the next-token distributions of two models, in integers: the same figures on every machine.

Logits are in Q16. Probabilities come from `exp2_neg_fine` of `intact.numerics.functions`, in Q30 with a relative error
of at most 1e-7; sums are exact. The last step, one logarithm per position, is rounded as `intact._base.exact` defines.
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
    """Divergences of a model from its source, one value per position."""

    kl: NDArray[np.float64]
    """KL(source || other), nats."""
    same: NDArray[np.bool_]
    """If true, both models have the same likeliest token; ties go to the lowest token id."""
    loss: NDArray[np.float64]
    """-log of the probability that `other` assigns to the text's next token, nats."""
    source_loss: NDArray[np.float64]
    """The same for `source`."""


def compare(source: NDArray[np.int32], other: NDArray[np.int32], tokens: NDArray[np.int64]) -> Divergence:
    """Compare two models' logits at the same positions.

    Parameters
    ----------
    source, other : int32 (rows, vocabulary)
        Logits in Q16.
    tokens : int64 (rows,)
        The next token at each position.
    """
    kl, loss, source_loss = np.zeros((3, len(source)))
    for i in range(len(source)):
        z, y = source[i].astype(np.int64), other[i].astype(np.int64)
        p, p_sum = _weights(z)
        _, q_sum = _weights(y)
        most_z, most_y = int(z.max()), int(y.max())
        # KL = sum p (z - y) - log sum exp z + log sum exp y, both taken relative to their maximum
        mean = int((p * ((z - most_z) - (y - most_y))).sum()) / p_sum / (1 << 16)
        log_p, log_q = ln(p_sum / (1 << 30)), ln(q_sum / (1 << 30))
        kl[i] = max(0.0, mean - log_p + log_q)
        loss[i] = (most_y - int(y[tokens[i]])) / (1 << 16) + log_q
        source_loss[i] = (most_z - int(z[tokens[i]])) / (1 << 16) + log_p
    same = source.argmax(axis=1) == other.argmax(axis=1)
    return Divergence(kl, same, loss, source_loss)


def _weights(z: Int) -> tuple[Int, int]:
    """Return exp(z - max z) in Q30, and the sum."""
    weights = exp2_neg_fine(rshift((z.max() - z) * LOG2E, 16))
    return weights, int(weights.sum())
