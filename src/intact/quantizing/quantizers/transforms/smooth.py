"""SmoothQuant: move half of the quantisation difficulty from inputs to weights (Xiao et al., arXiv 2211.10438).

s_j = sqrt(max |x_j|) / sqrt(max |w_j|), their formula with a = 1/2, for the inputs after norms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.base import Floats
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform
from intact.quantizing.quantizers.transforms.folding import ScalableInput, norm_inputs

LEAST: Final = 1e-5
"""Lower limit on a maximum, as in the authors' code."""


def smoothing(model: FloatModel, where: ScalableInput) -> Floats:
    """Return s^2, float64: for each channel the largest input over the largest weight."""
    assert model.statistics is not None
    statistics = model.statistics(where.op)
    largest = np.zeros(0)
    for name in where.matrices:
        columns = np.abs(model.read(name)).max(axis=0).astype(np.float64)
        largest = columns if not len(largest) else np.maximum(largest, columns)
    inputs = np.ldexp(statistics.largest[: len(largest)].astype(np.float64), statistics.exponent)
    ratio: Floats = np.maximum(inputs, LEAST) / np.maximum(largest, LEAST)
    return ratio


def power_of_two_root(square: Floats) -> Floats:
    """Return the power of two nearest to the root, by ratio; ties go to the greater power."""
    exponent = np.frexp(square)[1]  # root = 2^(exponent / 2) sqrt(fraction), fraction in [1/2, 1)
    whole = exponent.astype(np.int64)
    # log2 of the root lies in [(exponent - 1) / 2, exponent / 2): it is nearest to exponent / 2 if the exponent is
    # even, else to (exponent - 1) / 2
    power: Floats = np.ldexp(1.0, np.where(whole % 2 == 0, whole // 2, (whole - 1) // 2))
    return power


class Smooth(Transform):
    """SmoothQuant's scales, unchanged or rounded to powers of two."""

    calibrated = True

    def __init__(self, name: str, summary: str, source: str, root: Callable[[Floats], Floats]) -> None:
        self.name, self.summary, self.source = name, summary, source  # type: ignore[misc]
        self._root = root

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        if model.statistics is None:
            raise ParameterError(f"{self.name} needs calibration; give a calibration text")
        edits, inputs = TensorEdits(), list(norm_inputs(model.structure))
        for done, where in enumerate(inputs):
            model.progress(done, len(inputs))
            where.fold(edits, self._root(smoothing(model, where)))
        return edits


SMOOTH = Smooth(
    "smooth", "inputs after norms divided by sqrt(max|x| / max|w|)", "SmoothQuant, arXiv 2211.10438", np.sqrt
)
SMOOTH_POW2 = Smooth(
    "smooth_pow2",
    "the same, rounded to powers of two",
    "SmoothQuant, arXiv 2211.10438; LLM-FP4's exponents of channels, arXiv 2310.16836",
    power_of_two_root,
)
