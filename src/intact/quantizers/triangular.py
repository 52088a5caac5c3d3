"""A triangular factorisation whose bits are the same everywhere: float64, one operation at a time, in a fixed order.

LAPACK's and NumPy's sums change with the machine; here each element sees its products one after the other, by
elementwise multiplications and subtractions, which IEEE 754 defines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.errors import ParameterError


def factor(h: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return R, unit upper triangular, and D with H = R diag(D) RT.

    Parameters
    ----------
    h : float64 (K, K)
        Symmetric, positive definite.

    Raises
    ------
    ParameterError
        If it is not positive definite.
    """
    rest = h.copy()
    r, d = np.eye(len(h)), np.zeros(len(h))
    for k in range(len(h) - 1, -1, -1):
        d[k] = rest[k, k]
        if not d[k] > 0:
            raise ParameterError(f"the second moments are not positive definite (pivot {k}): use a longer text")
        column = rest[:k, k].copy()
        r[:k, k] = column / d[k]
        rest[:k, :k] -= r[:k, k, None] * column[None, :]
    return r, d
