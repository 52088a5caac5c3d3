"""Rearrange: make channels of similar magnitude neighbours, so that a block's scale fits all its weights.

After Accurate Block Quantization (arXiv 2403.20137), which sorts the channels of keys by their norms. Here the channels
of the residual stream and of feed-forward nets are sorted by the squares of the weights that read them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.quantizing.quantizers.base import Floats
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform, Weights
from intact.quantizing.quantizers.transforms.orders import order_hidden, order_stream

BITS: Final = 20
"""Bits of a weight below the largest in its matrix: the sum of 2^23 squares is exact."""


def column_shares(matrix: Weights) -> Floats:
    """Return each column's share of a matrix's sum of squares, float64 (K,)."""
    exponent = int(np.frexp(np.abs(matrix).max())[1])
    whole = np.floor(np.ldexp(matrix.astype(np.float64), BITS - exponent) + 0.5).astype(np.int64)
    squares = (whole * whole).sum(axis=0)
    shares: Floats = squares.astype(np.float64) / max(1, int(squares.sum()))
    return shares


def sorted_channels(shares: Floats) -> NDArray[np.int64]:
    """Sort the channels from the largest share to the smallest; the sort is stable."""
    return np.argsort(-shares, kind="stable")


class Rearrange(Transform):
    """Sort the channels of the stream and of each feed-forward net by the squares of the weights that read them."""

    name = "rearrange"
    summary = "channels of stream and feed-forward nets sorted by the size of the weights that read them"
    source = "Accurate Block Quantization, arXiv 2403.20137"

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        edits, structure = TensorEdits(), model.structure
        shares = np.zeros(structure.width)
        for done, norm in enumerate(structure.norms[:-1]):
            model.progress(done, len(structure.norms))
            for name in norm.matrices:
                shares += column_shares(model.read(name))
        for name in structure.readers:
            shares += column_shares(model.read(name))
        order_stream(edits, structure, sorted_channels(shares))
        for net in structure.feed_forwards:
            hidden = np.zeros(len(model.read(net.gate.weight)))
            for name in net.down:
                hidden += column_shares(model.read(name))
            order_hidden(edits, net, sorted_channels(hidden))
        return edits


REARRANGE = Rearrange()
