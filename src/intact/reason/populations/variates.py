"""Random variates from a key: the same bits everywhere, unlike variates from a library that may change its streams."""

from __future__ import annotations

import math

from intact._base.exact import ln, power
from intact.numerics.sampling import uniform64


class RandomStream:
    """Numbers drawn one after another from a key; a new stream with the same key repeats them.

    Parameters
    ----------
    key : int
        64-bit key, as returned by `branch_key`.
    """

    def __init__(self, key: int) -> None:
        self._key, self._position = key, 0

    def uniform(self) -> float:
        """Return a uniform number in (0, 1): the middle of one of 2^52 equal parts."""
        bits = uniform64(self._key, self._position) >> 12
        self._position += 1
        return (2 * bits + 1) / (1 << 53)

    def normal(self) -> float:
        """Return a standard normal variate by Marsaglia's polar method; the second variate of a pair is discarded."""
        while True:
            x, y = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            square = x * x + y * y
            if 0 < square < 1:
                return x * math.sqrt(-2 * ln(square) / square)

    def gamma(self, shape: float) -> float:
        """Return a gamma variate of scale 1.

        Source: Marsaglia & Tsang 2000, A simple method for generating gamma variables.
        """
        if shape < 1:
            return self.gamma(shape + 1) * power(self.uniform(), 1 / shape)
        d = shape - 1 / 3
        c = 1 / math.sqrt(9 * d)
        while True:
            x = self.normal()
            v = 1 + c * x
            v *= v * v  # `**` would call the C library
            if v > 0 and ln(self.uniform()) < 0.5 * x * x + d - d * v + d * ln(v):
                return d * v

    def beta(self, a: float, b: float) -> float:
        """Return a beta variate, computed as a ratio of gammas."""
        x, y = self.gamma(a), self.gamma(b)
        return x / (x + y)


def happens(key: int, chance: float) -> bool:
    """Return true with a given probability: always at 1 and above, never at 0."""
    return RandomStream(key).uniform() < chance
