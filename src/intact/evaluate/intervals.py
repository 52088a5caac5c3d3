"""How sure a measured share is."""

from __future__ import annotations

NORMAL_95 = 1.959963984540054


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927, Probable inference); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    z, share = NORMAL_95, successes / trials
    middle = share + z * z / (2 * trials)
    half = z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1 + z * z / trials
    low = (middle - half) / scale if successes else 0.0
    high = (middle + half) / scale if successes < trials else 1.0
    return low, high
