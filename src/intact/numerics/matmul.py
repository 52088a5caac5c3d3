"""The matrix product of quantised activations and block weights (docs/spec/numerics.md, section 4)."""

from __future__ import annotations

import numpy as np

from intact.numerics.activations import BLOCK, Quantized, block_sums
from intact.numerics.fixed import rshift, shift
from intact.numerics.weights import BlockWeight

GROUP = 8  # blocks of 32 inputs (for minima: entries) that share one 32-bit sum
FOLD = 7
LARGEST = 1 << 50  # so that the residual stream can take 2^12 results and stay below 2^62
MINIMA_FOLD = {32: 7, 16: 8}  # by block: blocks of 16 make twice as many groups


def matmul(a: Quantized, w: BlockWeight, fraction: int) -> np.ndarray:
    """Multiply rows by weights: int64 (M, N) with `fraction` fraction bits, clipped to +-2^50, without bias.

    Every partial sum stays below 2^31 (bounds in docs/spec/numerics.md). Blocks are processed one group at a time to
    save memory. Float32 products are exact if a block's sums stay below 2^24; otherwise float64 is used.
    """
    rows, outputs = len(a.codes), len(w.codes)
    table = np.arange(1 << w.bits) if w.table is None else w.table
    values = np.asarray(table, np.int64) - w.zero
    exact = np.dtype(np.float32 if w.block * 127 * int(np.abs(values).max()) < 1 << 24 else np.float64)
    centred: np.ndarray = values.astype(exact)[w.codes]
    total = np.zeros((rows, outputs), np.int64)
    span = GROUP * BLOCK
    for start in range(0, centred.shape[1], span):
        group = np.zeros((rows, outputs), np.int64)
        for k in range(start, min(start + span, centred.shape[1]), w.block):
            acc = (a.codes[:, k : k + w.block].astype(exact) @ centred[:, k : k + w.block].T).astype(np.int64)
            c = rshift(w.scale[:, k // w.block].astype(np.int64) * a.scale[:, k // BLOCK, None].astype(np.int64), 15)
            group += rshift(acc, w.shift) * c
        total += rshift(group, FOLD)
    left = 22 + w.shift + fraction + w.scale_exp[None, :].astype(np.int64) + a.exponent[:, None]
    result: np.ndarray = np.clip(add_minima(shift(total, -left), a, w, fraction), -LARGEST, LARGEST)
    return result


def add_minima(result: np.ndarray, a: Quantized, w: BlockWeight, fraction: int) -> np.ndarray:
    """Add the contribution of a weight's minima, if it has any, to products (M, N)."""
    if w.minimum is None or w.minimum_exp is None:
        return result
    left = MINIMA_FOLD[w.block] + fraction + w.minimum_exp[None, :].astype(np.int64) + a.exponent[:, None]
    sums, exponent = block_sums(a, w.block)
    more = shift(_minima(sums, w.minimum, MINIMA_FOLD[w.block]), -(left + exponent[:, None]))
    return np.asarray(result + more)


def _minima(sums: np.ndarray, minimum: np.ndarray, fold: int) -> np.ndarray:
    """Multiply block sums (M, B) by minima (N, B), folding the sum of every group of eight before adding it."""
    total = np.zeros((len(sums), len(minimum)), np.int64)
    for b in range(0, sums.shape[1], GROUP):
        group = sums[:, b : b + GROUP].astype(np.float64) @ minimum[:, b : b + GROUP].astype(np.float64).T
        total += rshift(group.astype(np.int64), fold)
    return total
