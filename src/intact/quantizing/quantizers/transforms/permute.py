"""Permute: randomly reorder the residual stream and each feed-forward net's hidden channels."""

from __future__ import annotations

from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform
from intact.quantizing.quantizers.transforms.orders import order_hidden, order_stream
from intact.quantizing.quantizers.transforms.pcg64 import Pcg64


class Permute(Transform):
    """Random orders. Values, including outliers, remain the same, but a new block mixes values from many old ones."""

    name = "permute"
    summary = (
        "stream and hidden channels in random order (seed 0), to measure formats on files whose weights lie on a grid"
    )
    source = "intact"

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        edits, random = TensorEdits(), Pcg64(0)
        order_stream(edits, model.structure, random.permutation(model.structure.width))
        for net in model.structure.feed_forwards:
            order_hidden(edits, net, random.permutation(len(model.read(net.gate.weight))))
        return edits


PERMUTE = Permute()
