"""Hadamard rotation at run time: rotate every product's inputs block by block, to spread outliers over a block.

"INT v.s. FP" (arXiv 2510.25602) does this for the weights and activations of NVINT4, and QuaRot (arXiv 2404.00456) for
rotations that cannot be folded. The program rotates a product's inputs (operation `Hadamard`, exact in integers), so
weights W become W H / n; nothing else changes. Unlike in the papers, there are no random signs.
"""

from __future__ import annotations

import numpy as np

from intact._base.errors import ParameterError
from intact.numerics.hadamard import SIZES, block_size
from intact.quantizing.quantizers.spec import Spec
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform, Weights
from intact.quantizing.quantizers.transforms.structure import ModelStructure


class HadamardRotation(Transform):
    """Rotate in blocks of one size, or of the largest smaller size that divides a row; leave other rows unchanged."""

    last = True

    def __init__(self, size: int) -> None:
        self.name = f"hadamard{size}"  # type: ignore[misc]
        self.summary = f"inputs of products rotated at run time in blocks of {size}"  # type: ignore[misc]
        self.size = size

    source = "INT v.s. FP, arXiv 2510.25602; QuaRot, arXiv 2404.00456"

    def check(self, model: ModelStructure, specs: tuple[Spec, ...]) -> None:
        """Raise ParameterError if no block size divides the width of the residual stream."""
        if block_size(self.size, model.width) is None:
            raise ParameterError(
                f"{self.name}: the residual stream has {model.width} channels, which is not a multiple of {SIZES[0]}"
            )

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        edits = TensorEdits()
        for name in model.structure.products:
            size = block_size(self.size, model.read(name).shape[1])
            if size is not None:
                edits.rotated[name] = size
                edits.add(name, lambda w, size=size: turn_inputs(w, size))  # type: ignore[misc]
        return edits


def turn_inputs(matrix: Weights, size: int) -> Weights:
    """Return W H / size for each block of columns, float32: sums and differences in float64 in a fixed order."""
    y = matrix.astype(np.float64).reshape(-1, size)
    half = 1
    while half < size:
        pairs = y.reshape(len(y), -1, 2, half)
        y = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(-1, size)
        half *= 2
    turned: Weights = (y / size).astype(np.float32).reshape(matrix.shape)
    return turned


HADAMARD32, HADAMARD64, HADAMARD128, HADAMARD256 = map(HadamardRotation, SIZES)
