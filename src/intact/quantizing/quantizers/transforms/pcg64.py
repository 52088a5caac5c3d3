"""Random permutations and integers that are the same in every version of NumPy.

NumPy guarantees the stream of PCG64, but not the results of `numpy.random.Generator`. The generator's methods are
reimplemented here as they are in NumPy 2, with equal results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Pcg64:
    """The stream of `numpy.random.default_rng(seed)`."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)
        self._high: int | None = None

    def next32(self) -> int:
        """Return 32 bits: the lower half of a 64-bit number of the stream, then the upper."""
        if self._high is not None:
            low, self._high = self._high, None
            return low
        whole = int(self._bits.random_raw())
        self._high = whole >> 32
        return whole & 0xFFFFFFFF

    def permutation(self, n: int) -> NDArray[np.int64]:
        """Return a random permutation of n channels (Fisher and Yates; indices by masks and rejection)."""
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            mask = (1 << i.bit_length()) - 1
            while (j := self.next32() & mask) > i:
                pass
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)

    def int16(self, n: int) -> NDArray[np.int64]:
        """Return n integers from -2^15 to 2^15 - 1."""
        return np.array([(self.next32() >> 16) - (1 << 15) for _ in range(n)], np.int64)
