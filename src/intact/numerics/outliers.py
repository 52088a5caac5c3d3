"""16-bit outliers, for the profile `llm_int8` (docs/spec/numerics.md, section 3; arXiv 2208.07339)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from intact.numerics.activations import BLOCK
from intact.numerics.weights import BlockWeight, InputIndex

T = TypeVar("T", np.uint8, np.int16)


def outlier_blocks(index: NDArray[np.int32]) -> int:
    """Return the number of outlier blocks in an index: the blocks of A if it has the form (own, A, A), otherwise 0.

    `own` is at least one block of columns whose inputs occur once; A consists of whole blocks whose inputs occur twice.

    Parameters
    ----------
    index : int32 (K,)
        Inputs of a weight, or -1.

    Examples
    --------
    >>> outlier_blocks(np.array([*range(30), -1, -1, *([30, 31] + [-1] * 30) * 2]))
    1
    """
    named = np.flatnonzero(index >= 0)
    _, first, counts = np.unique(index[named], return_index=True, return_counts=True)
    if not (counts > 1).any():
        return 0
    begin = int(named[first[counts > 1].min()])
    size, odd = divmod(len(index) - begin, 2 * BLOCK)
    once, again = np.split(index[begin:], 2) if not odd else (index, index)
    alike = begin > 0 and begin % BLOCK == 0 and not odd and np.array_equal(once, again)
    return size if alike and len(np.unique(once[once >= 0])) == np.count_nonzero(once >= 0) else 0


def with_rest(weight: BlockWeight, blocks: int) -> BlockWeight:
    """Extend a weight of the form (own, A, A) to (own, A, A, A) by repeating the columns of the first A.

    The new columns multiply the remainders of the outliers beyond 8-bit codes (`intact.numerics.activations.quantize`).

    Parameters
    ----------
    blocks : int
        Number of blocks of A, as returned by `outlier_blocks` for the weight's index; not 0.
    """

    def again(x: NDArray[T], width: int) -> NDArray[T]:
        size = blocks * BLOCK // width
        return np.concatenate([x, x[:, -2 * size : -size]], axis=1)

    assert weight.inputs is not None
    index = weight.inputs.index
    index = np.concatenate([index, index[-blocks * BLOCK :]])
    return weight._replace(
        codes=again(weight.codes, 1),
        scale=again(weight.scale, weight.block),
        minimum=None if weight.minimum is None else again(weight.minimum, weight.block),
        columns=len(index),
        inputs=InputIndex(index, weight.inputs.count),
    )
