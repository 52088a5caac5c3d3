"""Keyed draws: the order of rows in an epoch, and initial values, as functions of the seed and a name."""

from __future__ import annotations

import hashlib
from math import sqrt
from typing import Final

import numpy as np

from intact.numerics.fp32 import Floats

ORDER_RULE: Final = "keyed-shuffle-1"
"""Name of the rule of `epoch_order`, as receipts state it."""


def epoch_order(seed: int, epoch: int, rows: int) -> list[int]:
    """Return the order of rows: by the first 8 bytes of SHA-256 of rule, seed, epoch and row, ties by row."""

    def key(row: int) -> tuple[bytes, int]:
        text = f"{ORDER_RULE}\n{seed}\n{epoch}\n{row}\n"
        return hashlib.sha256(text.encode()).digest()[:8], row

    return sorted(range(rows), key=key)


def batch_rows(seed: int, step: int, batch: int, rows: int) -> list[int]:
    """Return the rows of a step, from 1: consecutive places of the concatenated epochs."""
    places = range((step - 1) * batch, step * batch)
    orders = {epoch: epoch_order(seed, epoch, rows) for epoch in {place // rows for place in places}}
    return [orders[place // rows][place % rows] for place in places]


def uniform(seed: int, name: str, shape: tuple[int, ...], bound: float) -> Floats:
    """Return values spread evenly over (-bound, bound): 32 bits each of SHAKE-128 over seed and name."""
    count = int(np.prod(shape, dtype=np.int64))
    data = hashlib.shake_128(f"intact-train-start-1\n{seed}\n{name}\n".encode()).digest(4 * count)
    units = (np.frombuffer(data, "<u4").astype(np.float64) + 0.5) / 2.0**31 - 1.0
    return (units * bound).astype(np.float32).reshape(shape)


def fan_in_bound(inputs: int) -> float:
    """Return 1 / sqrt(inputs), PEFT's default bound of A (Kaiming's rule with a slope of sqrt(5))."""
    return 1.0 / sqrt(inputs)
