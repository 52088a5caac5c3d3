"""The head of a reward model or reranker: rates an input from the hidden state at one of its tokens.

Linear layers with a ReLU or tanh between them, in the arithmetic of the model's profile: a reward has the same bits on
every machine, whatever else runs. With two outputs, the second is "right" (Qwen2.5-Math-PRM, arXiv 2501.07301); a
single output is a logit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Tensor
from intact.models.aspects.parameters import fixed_bias, float_values, integer_weight
from intact.numerics import fp32
from intact.numerics.activations import from_row_bytes, quantize
from intact.numerics.dequantize import dequantize
from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import sigmoid, tanh
from intact.numerics.gate import gated
from intact.numerics.matmul import matmul
from intact.numerics.weights import BlockWeight

FRACTION = 16


class RewardHead:
    """The layers of a head.

    Parameters
    ----------
    tensors : mapping
        Tensors of the checkpoint.
    layers : sequence of str
        Names of the layers in order, without `.weight` and `.bias`.
    width : int
        Width of the hidden states.
    bits : {8, 4}
        Code width of matrices that the checkpoint stores as floats, as in the executor.
    between : {'relu', 'tanh'}
        Activation between the layers.

    Raises
    ------
    ModelError
        If a tensor is missing or has the wrong shape.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        layers: Sequence[str],
        width: int,
        profile: str,
        bits: int,
        between: Literal["relu", "tanh"] = "relu",
    ) -> None:
        self._width, self._floating, self._between = width, profile == "fp32", between
        self._integers = list[tuple[BlockWeight, NDArray[np.int64] | int]]()
        self._floats = list[tuple[fp32.Floats, fp32.Floats | None]]()
        for layer in layers:
            if (name := f"{layer}.weight") not in tensors:
                raise ModelError(f"tensor {name} is missing: the model has no reward head")
            weight, bias = tensors[name], tensors.get(f"{layer}.bias")
            if weight.shape == (width,):  # one output: llama.cpp's converter leaves out dimensions of 1
                weight = Tensor(weight.name, weight.kind, (1, width), weight.data)
            if len(weight.shape) != 2 or weight.shape[1] != width or (bias and bias.shape != weight.shape[:1]):
                shapes = f"shape {weight.shape}" if bias is None else f"shapes {weight.shape} and {bias.shape}"
                raise ModelError(f"tensor {name}, or its bias, has {shapes}, expected (results, {width})")
            width = weight.shape[0]
            if self._floating:
                added = None if bias is None else float_values(bias, width, "bias")
                self._floats.append((dequantize(weight.kind, weight.data, weight.shape), added))
            else:
                self._integers.append((integer_weight(weight, bits), 0 if bias is None else fixed_bias(bias, FRACTION)))
        if width not in (1, 2):
            raise ModelError(f"the head's last layer, {layers[-1]}, has {width} results; a reward has one or two")

    def reward(self, head: bytes) -> float:
        """Return a reward from 0 to 1, given the head's input (`Executor.head_inputs`)."""
        return self._float_reward(head) if self._floating else self._integer_reward(head)

    score = reward

    def _integer_reward(self, head: bytes) -> float:
        a = from_row_bytes(np.frombuffer(head, np.uint8), self._width)
        y: NDArray[np.int64] = np.zeros((1, 1), np.int64)
        for i, (weight, bias) in enumerate(self._integers):
            if i:
                a = quantize(gated(y, None, "relu") if self._between == "relu" else rshift(tanh(y), 10), 20)
            y = sat32(matmul(a, weight, FRACTION) + bias)
        logit = sat32(y[0, 1] - y[0, 0] if y.shape[1] == 2 else y[0, 0])
        return int(sigmoid(logit)) / (1 << 30)

    def _float_reward(self, head: bytes) -> float:
        row = np.frombuffer(head, "<f4").astype(np.float32)[None]
        for i, (weight, bias) in enumerate(self._floats):
            if i:
                row = fp32.gate("relu", row, np.ones_like(row)) if self._between == "relu" else fp32.tanh(row)
            row = fp32.linear(row, weight, bias)
        return float(fp32.sigmoid(row[0, 1:] - row[0, :1] if row.shape[1] == 2 else row[0])[0])
