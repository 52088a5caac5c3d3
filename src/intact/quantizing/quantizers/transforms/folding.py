"""Fold scales of input channels into the producer of the channels: a norm's gain, or a matrix's rows.

A product W x equals (W diag(s)) (diag(1/s) x). The first factor is quantised. The second is obtained by dividing the
gain of the preceding norm by s or, if a matrix's results reach the product channel by channel (values through
attention, `up` through a gate), by dividing that matrix's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intact.quantizing.quantizers.base import Floats
from intact.quantizing.quantizers.transforms.base import TensorEdits, Weights
from intact.quantizing.quantizers.transforms.structure import ModelStructure, Projection, StreamNorm


@dataclass(frozen=True)
class ScalableInput:
    """An input of products whose channels can be scaled.

    Attributes
    ----------
    op : int
        The operation that reads the input.
    matrices : tuple of str
        The matrices that read it.
    maker : StreamNorm or Projection
        The norm or matrix whose results are divided by the scales.
    groups : int
        Number of times each of the maker's channels occurs: the number of attention heads that share a KV head.
    width : int
        Number of consecutive channels that recur together: the width of a head. 0 if none recur.
    """

    op: int
    matrices: tuple[str, ...]
    maker: StreamNorm | Projection
    groups: int = 1
    width: int = 0

    def pool(self, channels: NDArray[np.int64], by: np.ufunc) -> NDArray[np.int64]:
        """Reduce numbers of the inputs to one number for each of the maker's channels."""
        if self.groups == 1:
            return channels
        pooled: NDArray[np.int64] = by.reduce(channels.reshape(-1, self.groups, self.width), axis=1).ravel()
        return pooled

    def spread(self, scales: Floats) -> Floats:
        """Expand scales of the maker's channels to one scale for each input."""
        if self.groups == 1:
            return scales
        return np.repeat(scales.reshape(-1, 1, self.width), self.groups, axis=1).ravel()

    def fold(self, edits: TensorEdits, scales: Floats) -> None:
        """Scale the matrices' columns and divide the maker's results; scales are positive, one per channel made."""
        wide = self.spread(scales)
        for name in self.matrices:
            edits.add(name, lambda w: (w * wide).astype(np.float32))
        maker = self.maker
        if isinstance(maker, Projection):
            edits.outputs(maker, lambda w: (w / (scales if w.ndim == 1 else scales[:, None])).astype(np.float32))
            return
        offset = maker.offset

        def divide(gain: Weights) -> Weights:
            return ((gain.astype(np.float64) + offset) / scales - offset).astype(np.float32)

        edits.add(maker.gain, divide)


def norm_inputs(model: ModelStructure) -> Iterator[ScalableInput]:
    """Yield the inputs after norms of the residual stream, except for the head's."""
    for norm in model.norms:
        if norm.op is not None:
            yield ScalableInput(norm.op, norm.matrices, norm)


def all_inputs(model: ModelStructure) -> Iterator[ScalableInput]:
    """Yield the inputs after norms, then those from values through attention and from `up` through gates."""
    yield from norm_inputs(model)
    for path in model.values:
        yield ScalableInput(path.op, path.output, path.value, path.heads // path.kv_heads, width=path.width)
    for net in model.feed_forwards:
        yield ScalableInput(net.op, net.down, net.up)
