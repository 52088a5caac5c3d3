"""Fairy2i: a real matrix as a widely linear map of half as many complex inputs, with weights 1, i, -1 and -i.

Let the complex vector x have the two halves of the inputs, (xr, xi), as its real and imaginary parts, and likewise for
the outputs. Then the matrix A = [[A11, A12], [A21, A22]] is exactly y = U x + W conj(x), with
U = ((A11 + A22) + i (A21 - A12)) / 2 and W = ((A11 - A22) + i (A12 + A21)) / 2. Each element of U or W is rounded by
its phase to the nearest of 1, i, -1, -i, times the mean size of the matrix's real or imaginary elements (iFairy).
Further stages do the same with the residual. Fairy2i trains with these weights; here a trained matrix is converted to
them (PKULab1806/Fairy2i-W2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.assemble import assemble, segments
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import FRACTION, Int, fix_rows, to_int16
from intact.quantizing.quantizers.spec import Spec

BITS = 30
"""Bits of a matrix's largest value, as an integer."""


def widely_linear(a: Int) -> tuple[tuple[Int, Int], tuple[Int, Int]]:
    """Return twice U and twice W, as real and imaginary parts, of an integer matrix with sides of even length."""
    n, k = a.shape[0] // 2, a.shape[1] // 2
    a11, a12, a21, a22 = a[:n, :k], a[:n, k:], a[n:, :k], a[n:, k:]
    return (a11 + a22, a21 - a12), (a11 - a22, a12 + a21)


def phases(re: Int, im: Int) -> tuple[Int, Int, int, int]:
    """Round each complex number to the nearest of 1, i, -1, -i; return signs and scales.

    Returns
    -------
    signs of the real and imaginary parts, one of which is 0; the rounded mean sizes of the numbers that became real and
    imaginary. A number on a diagonal is real.
    """
    real = np.abs(re) >= np.abs(im)
    signs = np.where(real, np.sign(re), 0), np.where(real, 0, np.sign(im))

    def mean(part: Int, chosen: NDArray[np.bool_]) -> int:
        count = int(chosen.sum())
        return (2 * int(np.abs(part[chosen]).sum()) + count) // (2 * count) if count else 0

    return *signs, mean(re, real), mean(im, ~real)


def real_form(re: Int, im: Int, conjugate: bool) -> Int:
    """Return the real matrix of a complex matrix that multiplies x, or conj(x)."""
    sign = -1 if conjugate else 1
    return np.block([[re, -sign * im], [im, sign * re]])


class Fairy2i(Quantizer):
    """Fairy2i without training, in one or two stages."""

    name = "fairy2i"
    summary = "input halves as complex numbers, with weights 1, i, -1, -i"
    source = "PKULab1806/Fairy2i-W2; the quantiser: PKULab1806/Fairy-plus-minus-i"
    grids = ("phases1", "phases2")

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        rows, columns = matrix.shape
        if rows % 2 or columns % 2:
            raise ParameterError(f"{spec}: a matrix of {rows} x {columns} cannot be halved; expected even numbers")
        fix_rows(matrix)  # for its check
        exponent = int(np.frexp(np.abs(matrix).max(initial=0))[1])
        whole = np.floor(np.ldexp(matrix.astype(np.float64), BITS - exponent) + 0.5).astype(np.int64)
        planes, scales = [], []
        parts = list(widely_linear(whole))
        for _ in range(spec.levels.planes // 2):
            for which, (re, im) in enumerate(parts):
                sign_re, sign_im, scale_re, scale_im = phases(re, im)
                planes.append(real_form(sign_re, sign_im, conjugate=which == 1))
                scales.append((scale_re, scale_im))
                parts[which] = re - scale_re * sign_re, im - scale_im * sign_im
        half = columns // 2
        index = segments([np.arange(half), np.arange(half, columns)] * len(planes), columns)
        wide = len(index.index) // (2 * len(planes))
        levels = np.zeros((rows, 2 * len(planes), wide))
        for i, plane in enumerate(planes):
            levels[:, 2 * i, :half], levels[:, 2 * i + 1, :half] = plane[:, :half], plane[:, half:]
        # real scales apply to the first half of the inputs for the first half of the outputs, and to the second for the
        # second; imaginary scales apply to the other half
        steps = np.array([[s for pair in scales for s in pair], [s for pair in scales for s in reversed(pair)]])
        scale, t = to_int16(steps.astype(np.int64))
        blocks = np.repeat(np.repeat(scale, rows // 2, axis=0), wide // 32, axis=1)
        unit = np.full(rows, exponent - BITS - 1 + FRACTION, np.int64)
        shape = (rows, len(index.index))
        scales_t = np.repeat(t, rows // 2)
        return QuantizedMatrix(
            assemble(
                spec, columns, levels.reshape(shape), (blocks, scales_t), exponent=unit, offsets=None, inputs=index
            )
        )


FAIRY2I = Fairy2i()
