"""Rotate: multiply the residual stream by one orthogonal matrix, which spreads outliers over all channels.

This is the part of QuaRot (arXiv 2404.00456) and SpinQuant (arXiv 2405.16406) that needs no work at run time: the gains
of norms are folded into the matrices after them, and all matrices that write or read the stream are rotated in the same
way. RMSNorm without a gain commutes with the rotation.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.base import Floats
from intact.quantizing.quantizers.spec import Spec
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform, Untied, Weights
from intact.quantizing.quantizers.transforms.pcg64 import Pcg64
from intact.quantizing.quantizers.transforms.structure import ModelStructure

HEAD: Final = "output.weight"
"""The canonical name of an untied head."""
BITS: Final = 21
"""Bits of a matrix, and of each of two parts of a rotation: sums of 2^10 products are exact in any order."""
SLICE: Final = 1 << 10


class Rotate(Transform):
    """One random rotation of the stream."""

    name = "rotate"
    summary = "gains folded into matrices, the residual stream turned by a random rotation (seed 0)"
    source = "QuaRot, arXiv 2404.00456; SpinQuant, arXiv 2405.16406"

    def check(self, model: ModelStructure, specs: tuple[Spec, ...]) -> None:
        """Raise ParameterError if there are norms between results and stream: gains do not commute with a rotation."""
        if model.result_gains:
            raise ParameterError(
                f"{model.architecture} has norms after its products, whose gains do not commute with a rotation: "
                "it can be permuted, but not rotated"
            )

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        structure, edits = model.structure, TensorEdits()
        rotation = orthogonal(structure.width, Pcg64(0))
        head = structure.head
        if head == structure.embedding:
            head = HEAD
            edits.untied = Untied(HEAD, structure.embedding)
        for norm in structure.norms:
            gain = model.read(norm.gain) + np.float32(norm.offset)
            for name in norm.matrices:
                target = head if name == structure.embedding else name
                edits.add(target, lambda w, gain=gain: turn(w * gain, rotation))  # type: ignore[misc]
            edits.add(norm.gain, lambda w, offset=norm.offset: np.full_like(w, 1 - offset))  # type: ignore[misc]
        edits.add(structure.embedding, lambda w: turn(w, rotation))
        for writer in structure.writers:
            edits.outputs(writer, lambda w: _turn_outputs(w, rotation))
        return edits


def orthogonal(n: int, random: Pcg64) -> Floats:
    """Return a random orthogonal matrix: for a power of two, Hadamard's with random signs, else n reflections.

    Operations are elementwise, in a fixed order.
    """
    if n & (n - 1) == 0:
        h = np.ones((1, 1))
        while len(h) < n:
            h = np.block([[h, h], [h, -h]])
        signs = np.where(random.int16(n) < 0, -1.0, 1.0)
        hadamard: Floats = signs[:, None] * h / np.sqrt(float(n))
        return hadamard
    q = np.eye(n)
    for k in range(n):
        v = np.zeros(n)
        v[k:] = random.int16(n - k)
        length = float((v.astype(np.int64) ** 2).sum())
        if length == 0:
            continue
        along = np.zeros(n)
        for j in range(k, n):
            along += q[:, j] * v[j]
        q -= (along * (2.0 / length))[:, None] * v[None, :]
    return q


def turn(matrix: Weights, rotation: Floats) -> Weights:
    """Return matrix times rotation, with both rounded to integers, so that BLAS sums are exact in any order."""
    exponent = np.frexp(np.abs(matrix).max(axis=1, initial=0))[1].astype(np.int64)[:, None]
    rows = np.floor(np.ldexp(matrix.astype(np.float64), BITS - exponent) + 0.5)
    turned = np.zeros((len(rows), len(rotation)))
    rest = rotation
    for part in (1, 2):
        digits = np.floor(np.ldexp(rest, part * BITS) + 0.5)
        rest = rest - np.ldexp(digits, -part * BITS)
        for begin in range(0, len(rotation), SLICE):
            columns = slice(begin, begin + SLICE)
            turned += np.ldexp(rows[:, columns] @ digits[columns], -part * BITS)
    result: Weights = np.ldexp(turned, exponent - BITS).astype(np.float32)
    return result


def _turn_outputs(values: Weights, rotation: Floats) -> Weights:
    turned = turn(np.ascontiguousarray(np.atleast_2d(values.T)), rotation).T
    result: Weights = np.ascontiguousarray(turned).reshape(values.shape)
    return result


ROTATE = Rotate()
