"""Integer stopping rule: ends a sample whose last tokens were unlikely."""

from __future__ import annotations

from collections.abc import Sequence

from intact.numerics.sampling import DECIMALS, LOGPROB_SCALE


def is_unlikely(logprobs: Sequence[int], bound: int, window: int) -> bool:
    """Return true if the mean log-probability of a sample's last tokens is below a bound.

    False for a sample shorter than the window. Follows the stopping rule of dynamic inference for code completion
    (arXiv 2401.09964), but uses the mean instead of a trained classifier.

    Parameters
    ----------
    logprobs : sequence of int
        Log-probability of each token drawn so far, in nats times 2^24.
    bound : int
        Bound in millionths of a nat, at most 0; 0 disables the rule.
    window : int
        Number of last tokens in the mean.
    """
    if not bound or len(logprobs) < window:
        return False
    return DECIMALS * sum(logprobs[-window:]) < bound * window * LOGPROB_SCALE
