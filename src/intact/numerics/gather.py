"""Gather columns of rows by an index, for products whose columns are not in the order of the model's inputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import Int


def gather(x: Int, index: NDArray[np.int32]) -> Int:
    """Return x[..., index[k]] for each k, and 0 where index[k] is -1 (docs/spec/numerics.md, section 10).

    Parameters
    ----------
    x : int64 (..., M)
    index : int32 (K,), from -1 to M - 1
    """
    return np.where(index < 0, 0, x[..., index])
