"""Scales of input channels, folded into what makes the channels: a norm's gain, or a matrix's rows.

A product W x is (W diag(s)) (diag(1/s) x). The first factor is quantised; the second is made by dividing the gain of
the norm before it by s, or, where a matrix's results reach the product channel by channel (values through an
attention, `up` through a gate), that matrix's rows.
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
        The operation whose input it is.
    matrices : tuple of str
        Those that read it.
    maker : StreamNorm or Projection
        Whose results are divided by the scales.
    groups : int
        Times that each of the maker's channels occurs: heads of a group of an attention that share their values.
    width : int
        Consecutive channels that recur together: of a head. 0 where none recur.
    """

    op: int
    matrices: tuple[str, ...]
    maker: StreamNorm | Projection
    groups: int = 1
    width: int = 0

    def pool(self, channels: NDArray[np.int64], by: np.ufunc) -> NDArray[np.int64]:
        """Return one number for each of the maker's channels, of numbers for each input."""
        if self.groups == 1:
            return channels
        pooled: NDArray[np.int64] = by.reduce(channels.reshape(-1, self.groups, self.width), axis=1).ravel()
        return pooled

    def spread(self, scales: Floats) -> Floats:
        """Return a scale for each input, of scales for each of the maker's channels."""
        if self.groups == 1:
            return scales
        return np.repeat(scales.reshape(-1, 1, self.width), self.groups, axis=1).ravel()

    def fold(self, edits: TensorEdits, scales: Floats) -> None:
        """Scale the matrices' columns, and divide what makes them; scales are positive, one for each channel made."""
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
    """Yield the inputs behind norms of the stream; the head's is left alone."""
    for norm in model.norms:
        if norm.op is not None:
            yield ScalableInput(norm.op, norm.matrices, norm)


def all_inputs(model: ModelStructure) -> Iterator[ScalableInput]:
    """Yield also the inputs that values make through attentions, and `up` through gates."""
    yield from norm_inputs(model)
    for path in model.values:
        yield ScalableInput(path.op, path.output, path.value, path.heads // path.kv_heads, width=path.width)
    for net in model.feed_forwards:
        yield ScalableInput(net.op, net.down, net.up)
