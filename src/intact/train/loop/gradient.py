"""The gradient of a sequence: the program's list reversed, at the rows that the engine computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

import numpy as np

from intact.models.adapters import STREAM
from intact.models.aspects.derivative import LOGITS
from intact.models.aspects.op import Op
from intact.models.layers import segments
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.passes import LayerPass, Learned
from intact.train.arithmetic.sums import GradientSum
from intact.train.arithmetic.weights import FloatWeights
from intact.train.examples import Sequenced
from intact.train.loop.forward import Run


class Backward:
    """Derivatives of a program's layers, from the head down to the lowest layer that learns.

    Parameters
    ----------
    weights : FloatWeights
        Tensors of the program with the trained tensors in place.
    learned : mapping
        For each trained tensor of the program, its master.
    """

    def __init__(self, weights: FloatWeights, learned: Mapping[str, Learned], adapter: int) -> None:
        self._weights, self._learned, self._adapter = weights, learned, adapter
        self._parts = segments(weights.program)
        self._embeds = _learns(self._parts.embedding, learned)
        learning = [number for number, ops in enumerate(self._parts.layers) if _learns(ops, learned)]
        self._lowest = 0 if self._embeds else min(learning, default=len(self._parts.layers))

    def add(self, sequence: Sequenced, run: Run, slopes: Floats, total: GradientSum) -> None:
        """Add a sequence's gradient to a sum.

        Parameters
        ----------
        run : Run
            The engine's rows and logits.
        slopes : float32 (wanted, vocabulary)
            The gradient of the loss by the logits.
        """
        tokens, wanted = sequence.inputs, sequence.wanted
        head = LayerPass(self._weights, self._learned, total, tokens[wanted], adapter=self._adapter)
        head.rows |= {STREAM: run.rows[-1], LOGITS: run.logits}
        head.forward(self._parts.head)
        head.add(LOGITS, slopes)
        head.backward(self._parts.head)
        if self._lowest == len(self._parts.layers):
            return
        gradient = np.zeros((len(tokens), run.rows[-1].shape[1]), np.float32)
        gradient[wanted] = head.take(STREAM)
        for number in reversed(range(self._lowest, len(self._parts.layers))):
            ops = self._parts.layers[number]
            layer = LayerPass(self._weights, self._learned, total, tokens, adapter=self._adapter)
            layer.rows[STREAM] = run.rows[number]
            layer.forward(ops)
            layer.add(STREAM, gradient)
            layer.backward(ops)
            gradient = layer.take(STREAM)
        if self._embeds:
            embedding = LayerPass(self._weights, self._learned, total, tokens, adapter=self._adapter)
            embedding.add(STREAM, gradient)
            embedding.backward(self._parts.embedding)


def _learns(ops: tuple[Op, ...], learned: Mapping[str, Learned]) -> bool:
    """Return true if one of the operations has a trained tensor."""
    return any(name in learned for op in ops for name in _names(op))


def _names(value: object) -> Iterator[str]:
    """Yield all names in an operation: of buffers, and of tensors."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _names(item)
    elif is_dataclass(value):
        for item in fields(value):
            yield from _names(getattr(value, item.name))
