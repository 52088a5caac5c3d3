"""Spectra's ternary weights: one scale per matrix, the mean magnitude of its values (TriLM; NolanoOrg/SpectraSuite)."""

from __future__ import annotations

from fractions import Fraction
from math import frexp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.quantizing.quantizers.assemble import assemble
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import FRACTION, FixedRows, fix_rows, nearest
from intact.quantizing.quantizers.spec import Spec

EPSILON: Final = Fraction(1, 100_000)
"""Value added to the scale so that it is not 0, as in BitNet b1.58 (arXiv 2402.17764)."""
_SCALE_BITS: Final = 15


def scale_of(rows: FixedRows, columns: int) -> float:
    """Return gamma = epsilon + mean |W| over a matrix; the sum is exact and rounded once."""
    sizes = np.abs(rows.x).sum(axis=1).astype(np.int64).tolist()  # integers below 2^53: any order
    exact = sum(
        Fraction(size) * Fraction(2) ** (e - FRACTION) for size, e in zip(sizes, rows.exponent.tolist(), strict=True)
    )
    return float(EPSILON + exact / (len(sizes) * columns))


class Spectra(Quantizer):
    """The ternary weights that Spectra's models are trained with."""

    name = "spectra"
    summary = "ternary: round(W / gamma), gamma the mean size over the whole matrix"
    source = "NolanoOrg/SpectraSuite (TriLM)"
    grids = ("ternary",)

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`. All blocks share one scale of 15 bits."""
        rows, columns = fix_rows(matrix), matrix.shape[1]
        gamma = scale_of(rows, columns)
        step = np.ldexp(gamma, FRACTION - rows.exponent)[:, None]
        levels = nearest(rows.x[:, None], step, spec.levels)[:, 0]
        fraction, exponent = frexp(gamma)
        scale = min(round(fraction * (1 << _SCALE_BITS)), (1 << _SCALE_BITS) - 1)
        scales = np.full((len(matrix), rows.x.shape[1] // spec.width(columns)), scale, np.int64)
        t = exponent - _SCALE_BITS + FRACTION - rows.exponent
        return QuantizedMatrix(assemble(spec, columns, levels, (scales, t), exponent=rows.exponent, offsets=None))


SPECTRA = Spectra()
