"""Permute: a random order of the residual stream, and one of each feed-forward net's hidden channels."""

from __future__ import annotations

from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform
from intact.quantizing.quantizers.transforms.orders import order_hidden, order_stream
from intact.quantizing.quantizers.transforms.pcg64 import Pcg64


class Permute(Transform):
    """Random orders. Values stay, with their outliers, but a new block mixes those of many old ones."""

    name = "permute"
    summary = "a random order of stream and hidden channels (seed 0), to measure formats on files that lie on a grid"
    source = "intact"

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        edits, random = TensorEdits(), Pcg64(0)
        order_stream(edits, model.structure, random.permutation(model.structure.width))
        for net in model.structure.feed_forwards:
            order_hidden(edits, net, random.permutation(len(model.read(net.gate.weight))))
        return edits


PERMUTE = Permute()
