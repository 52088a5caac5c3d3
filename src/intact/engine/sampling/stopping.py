"""The rule that ends a text whose last tokens were unlikely, in integers."""

from __future__ import annotations

from collections.abc import Sequence

from intact.numerics.sampling import DECIMALS, LOGPROB_SCALE


def is_unlikely(logprobs: Sequence[int], bound: int, window: int) -> bool:
    """Return true if the mean log-probability of a text's last tokens is below a bound.

    It is false of a text with fewer tokens than the window has. After the stop rule of dynamic inference for code
    completion (arXiv 2401.09964), whose classifier is trained; here the mean decides.

    Parameters
    ----------
    logprobs : sequence of int
        The log-probability of each token drawn so far: nats times 2^24.
    bound : int
        Millionths of a nat, at most 0; with 0 the rule is off.
    window : int
        How many last tokens the mean is taken over.
    """
    if not bound or len(logprobs) < window:
        return False
    return DECIMALS * sum(logprobs[-window:]) < bound * window * LOGPROB_SCALE
