"""The head of a reward model: how likely a text is right, from the hidden state behind one of its tokens.

Linear layers with a ReLU between them, in the arithmetic of the model's profile: a reward has the same bits on every
machine, whatever else runs. Of two results the second is "right" (Qwen2.5-Math-PRM, arXiv 2501.07301); one alone is a
logit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from intact.errors import ModelError
from intact.executors.base import fixed_bias, integer_weight
from intact.formats import Tensor
from intact.models.decoder import float_values
from intact.numerics import fp32
from intact.numerics.activations import from_row_bytes, quantize
from intact.numerics.dequantize import dequantize
from intact.numerics.fixed import sat32
from intact.numerics.functions import sigmoid
from intact.numerics.gate import gated
from intact.numerics.matmul import matmul

FRACTION = 16


class RewardHead:
    """The layers of a head.

    Parameters
    ----------
    tensors : mapping
        The checkpoint's.
    layers : sequence of str
        The names of the layers, without `.weight` and `.bias`, in order.
    width : int
        Of the hidden states.
    bits : {8, 4}
        Codes of matrices that the checkpoint stores as floats, as the executor has them.

    Raises
    ------
    ModelError
        If a tensor is missing or misshapen.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], layers: Sequence[str], width: int, profile: str, bits: int
    ) -> None:
        self._width, self._floating = width, profile == "fp32"
        self._weights, self._biases = list[Tensor](), list[Tensor | None]()
        for layer in layers:
            if (name := f"{layer}.weight") not in tensors:
                raise ModelError(f"tensor {name} is missing: the model has no head of a reward model")
            weight, bias = tensors[name], tensors.get(f"{layer}.bias")
            if len(weight.shape) != 2 or weight.shape[1] != width or (bias and bias.shape != weight.shape[:1]):
                shapes = f"shape {weight.shape}" if bias is None else f"shapes {weight.shape} and {bias.shape}"
                raise ModelError(f"tensor {name}, or its bias, has {shapes}, expected (results, {width})")
            self._weights.append(weight)
            self._biases.append(bias)
            width = weight.shape[0]
        if width not in (1, 2):
            raise ModelError(f"tensor {self._weights[-1].name} has {width} results; a reward has one or two")
        if not self._floating:
            self._integers = [integer_weight(weight, bits) for weight in self._weights]

    def reward(self, head: bytes) -> float:
        """Return a number from 0 to 1, given what enters the head (`Executor.head_inputs`)."""
        if self._floating:
            row = np.frombuffer(head, "<f4").astype(np.float32)[None]
            return self._float_reward(row)
        a = from_row_bytes(np.frombuffer(head, np.uint8), self._width)
        y: NDArray[np.int64] = np.zeros((1, 1), np.int64)
        for i, (weight, bias) in enumerate(zip(self._integers, self._biases, strict=True)):
            if i:
                a = quantize(gated(y, None, "relu"), 20)
            y = sat32(matmul(a, weight, FRACTION) + (0 if bias is None else fixed_bias(bias, FRACTION)))
        logit = sat32(y[0, 1] - y[0, 0] if y.shape[1] == 2 else y[0, 0])
        return int(sigmoid(logit)) / (1 << 30)

    def _float_reward(self, row: NDArray[np.float32]) -> float:
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            if i:
                row = fp32.gate("relu", row, np.ones_like(row))
            matrix = dequantize(weight.kind, weight.data, weight.shape)
            row = fp32.linear(row, matrix, None if bias is None else float_values(bias, bias.shape[0], "bias"))
        return float(fp32.sigmoid(row[0, 1:] - row[0, :1] if row.shape[1] == 2 else row[0])[0])
