"""Reorder the channels of the residual stream and the hidden channels of feed-forward nets; all sums stay the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.quantizing.quantizers.transforms.base import TensorEdits
from intact.quantizing.quantizers.transforms.structure import FeedForward, ModelStructure

Order = NDArray[np.int64]


def order_stream(edits: TensorEdits, model: ModelStructure, order: Order) -> None:
    """Reorder the channels of the residual stream."""
    columns = {
        model.embedding,
        model.head,
        *(name for norm in model.norms for name in norm.matrices),
        *model.readers,
    }
    for name in columns:
        edits.add(name, lambda w: w[:, order])
    for writer in model.writers:
        edits.outputs(writer, lambda w: w[order])
    for gain in dict.fromkeys([*model.result_gains, *(norm.gain for norm in model.norms)]):
        edits.add(gain, lambda w: w[order])


def order_hidden(edits: TensorEdits, net: FeedForward, order: Order) -> None:
    """Reorder the hidden channels of a feed-forward net."""
    for projection in (net.gate, net.up):
        edits.outputs(projection, lambda w: w[order])
    for name in net.down:
        edits.add(name, lambda w: w[:, order])
