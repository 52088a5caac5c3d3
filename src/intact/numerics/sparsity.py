"""Sparse activations: keep only the highest-scoring inputs of each row that enters a product (docs/spec/numerics.md).

WINA (arXiv 2505.19427) scores an input by |x_i| times the norm of the weights that multiply it, TEAL (arXiv 2408.14690)
only by |x_i|. The choice depends only on the row itself, after quantisation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.activations import BLOCK, Quantized
from intact.numerics.fixed import Int
from intact.numerics.fp32 import Floats

RULES: Final = ("wina", "teal", "random")
"""The rules for scoring inputs."""
NORM_BITS: Final = 15
BITS: Final = 20
"""Number of bits of a weight, relative to the largest weight of its product."""


class Sparsity(NamedTuple):
    """A rule, and the percentage of a row's inputs that it drops.

    Examples
    --------
    >>> str(Sparsity("wina", 50))
    'wina50'
    >>> Sparsity("wina", 65).kept(100)
    35
    """

    rule: str
    percent: int

    def __str__(self) -> str:
        return f"{self.rule}{self.percent}"

    def kept(self, columns: int) -> int:
        """Return the number of inputs per row to keep: the share, rounded up."""
        return -(-columns * (100 - self.percent) // 100)


def column_norms(matrices: Iterable[Floats]) -> NDArray[np.int32]:
    """Return the Euclidean norm of each column over all matrices of a product, with the largest scaled to 15 bits.

    Weights are rounded half up to 20 bits and a sign, relative to the product's largest weight; sums of squares are
    exact, and roots are rounded down.

    Parameters
    ----------
    matrices : float32 (N, K) each
    """
    parts = list(matrices)
    top = max(float(np.abs(w).max()) for w in parts)
    exponent = BITS - math.frexp(top)[1]
    total = np.zeros(parts[0].shape[1], np.int64)
    for w in parts:
        for start in range(0, len(w), 256):
            q = np.floor(np.ldexp(w[start : start + 256].astype(np.float64), exponent) + 0.5).astype(np.int64)
            total += (q * q).sum(axis=0)
    roots = np.array([math.isqrt(int(square)) for square in total], np.int64)
    drop = max(int(roots.max()).bit_length() - NORM_BITS, 0)
    return (roots >> drop).astype(np.int32)


def scores(a: Quantized, norms: NDArray[np.integer] | None, rule: str) -> Int:
    """Return the score of each input, int64 (M, K padded), from 0 to below 2^36.

    `random` derives the scores from a row's codes and the input's number, as a baseline for comparison.
    """
    x = np.abs(a.codes.astype(np.int64)) * np.repeat(a.scale.astype(np.int64), BLOCK, axis=1)
    if rule == "random":
        place = np.arange(x.shape[1], dtype=np.uint64)
        mixed = (x.astype(np.uint64) * np.uint64(2654435761) + place * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
        mixed ^= mixed >> np.uint64(15)
        mixed = (mixed * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
        return ((mixed ^ (mixed >> np.uint64(13))) & np.uint64(0xFFFFFFFF)).astype(np.int64)
    if norms is None:
        return x
    return x * np.pad(np.asarray(norms, np.int64), (0, x.shape[1] - len(norms)))


def sparsify(
    a: Quantized, columns: int, keep: int, norms: NDArray[np.integer] | None = None, rule: str = "wina"
) -> Quantized:
    """Keep the `keep` highest-scoring inputs of each row and set the others to 0; on ties the first wins.

    Parameters
    ----------
    columns : int
        Inputs of a row without its padding.
    norms : int (K,), 0 to 2^15 - 1, optional
        Weights of the inputs' scores.
    """
    found = scores(a, norms, rule)[:, :columns]
    order = np.argsort(-found, axis=1, kind="stable")[:, :keep]
    stays = np.zeros(a.codes.shape, bool)
    np.put_along_axis(stays, order, True, axis=1)
    return a._replace(codes=np.where(stays, a.codes, 0).astype(np.int8))
