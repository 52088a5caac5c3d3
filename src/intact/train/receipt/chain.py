"""Digests of a run: roots over tensors, what a step read, and the chain of steps (docs/spec/training_receipts.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.receipts import canonical
from intact.receipts.canonical import HashName, digest
from intact.receipts.identity import root_of
from intact.train.state import StepLink

_LEAF = b"\0"


def tensors_root(hash: HashName, step: int, tensors: Mapping[str, NDArray[Any]]) -> bytes:  # noqa: A002
    """Return the root over a step's number and tensors, sorted by name; numbers are little-endian."""
    leaves = [digest(hash, _LEAF, b"step\n", step.to_bytes(8, "little"))]
    for name in sorted(tensors, key=str.encode):
        values = tensors[name]
        kind = "<f4" if values.dtype == np.float32 else "<i8"
        head = canonical.encode({"kind": kind, "name": name, "shape": list(values.shape)})
        leaves.append(digest(hash, _LEAF, head, b"\n", np.ascontiguousarray(values, kind).data.cast("B")))
    return root_of(hash, leaves)


def state_root(
    hash: HashName,  # noqa: A002
    step: int,
    tensors: Mapping[str, NDArray[Any]],
    moments: Mapping[str, NDArray[Any]],
) -> bytes:
    """Return the root over trained tensors and moments after a step."""
    named = {f"tensor.{name}": values for name, values in tensors.items()}
    return tensors_root(hash, step, named | {f"moment.{name}": values for name, values in moments.items()})


def batch_digest(hash: HashName, step: int, rows: Sequence[int], leaves: Sequence[bytes]) -> bytes:  # noqa: A002
    """Return the digest of what a step read: its number, and the number and leaf of each row, in ascending order."""
    parts = [row.to_bytes(4, "little") + leaves[row] for row in sorted(rows)]
    return digest(hash, b"intact-training-batch-1\n", step.to_bytes(8, "little"), *parts)


def chain(hash: HashName, start: bytes, links: Iterable[StepLink]) -> bytes:  # noqa: A002
    """Return c_t of the last step: c_t = H(c_(t-1), batch, gradient, state)."""
    value = start
    for link in links:
        value = digest(hash, value, *link)
    return value
