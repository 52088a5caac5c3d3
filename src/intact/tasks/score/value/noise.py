"""Scores of a set quality: a known value plus keyed noise, as the probability that a text is right."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from statistics import NormalDist

from intact._base.exact import exp

NORMAL = NormalDist()
FARTHEST = 700.0
"""Log-odds are clamped to this magnitude."""


@cache
def normal(key: str) -> float:
    """Return a standard normal number, by SHAKE-128 over its key."""
    data = hashlib.shake_128(key.encode()).digest(8)
    return NORMAL.inv_cdf((int.from_bytes(data, "little") + 0.5) / 2.0**64)


def noisy_score(value: float, auroc: float, noise: float, rate: float) -> float:
    """Return the score that a scorer of the given AUROC gives a text of a known value.

    The scorer observes `d value + noise` with `d = sqrt(2) Phi^-1(auroc)`, and gives the probability that a text is
    right after this observation: `logit(rate) + d (d value + noise) - d^2 / 2`, as log-odds. For finished texts, whose
    value is 0 or 1, the score is calibrated, and ranks a right text above a wrong one with probability `auroc`.

    Parameters
    ----------
    value : float
        The probability that the text ends in a right answer; 0 or 1 for a finished text.
    auroc : float
        In [0.5, 1]; 1 returns the value itself.
    noise : float
        A standard normal number.
    rate : float
        The share of all texts that are right, in (0, 1).
    """
    if auroc >= 1:
        return float(value)
    d = math.sqrt(2) * NORMAL.inv_cdf(auroc)
    logit = -math.log(1 / rate - 1) + d * (d * value + noise) - d * d / 2
    return 1 / (1 + exp(-min(max(logit, -FARTHEST), FARTHEST)))
