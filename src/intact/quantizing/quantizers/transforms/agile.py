"""Agile-Quant's power-of-two channel factors: divide large inputs by 2 or 4 so that their neighbours keep more bits.

Each block of 32 inputs to a product shares a step. If a channel is divided by 2^a before rounding, and its weights are
multiplied by 2^a, its error is 2^a as large for the same step, but the step no longer needs to cover it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.fixed import Int
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform
from intact.quantizing.quantizers.transforms.folding import all_inputs

MOST: Final = 2
"""The largest exponent a: factors are 1, 2 and 4."""
BLOCK: Final = 32


def powers(largest: Int) -> Int:
    """Return the exponent of the power of two that divides each input, 0 to 2.

    The squared error of a block is proportional to the sum of 4^a times the square of the block's largest input after
    the division. The choice with the least error is used; ties go to the larger step.

    Parameters
    ----------
    largest : int64 (K,)
        The largest magnitude of each input on the calibration text, at most 2^20.
    """
    blocks = np.pad(largest, (0, -len(largest) % BLOCK)).reshape(-1, BLOCK)
    found = np.zeros_like(blocks)
    for block, power in zip(blocks, found, strict=True):
        divided = np.array([block << MOST - a for a in range(MOST + 1)])  # in units of 2^-MOST
        reaches = np.unique(divided)[::-1]
        needed = (divided[:, None] > reaches[:, None]).sum(axis=0)
        errors = (4**needed).sum(axis=1) * reaches**2
        power[:] = needed[np.where(needed.max(axis=1) <= MOST, errors, np.iinfo(np.int64).max).argmin()]
    return found.reshape(-1)[: len(largest)]


class Agile(Transform):
    """Agile-Quant's factors, for all inputs that can be scaled where they are produced."""

    name = "agile"
    summary = "large inputs divided by 2 or 4, so that a block's step is finer"
    source = "Agile-Quant; shawnricecake/agile-quant, ptq/observer/ptf.py"
    calibrated = True

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        if model.statistics is None:
            raise ParameterError(f"{self.name} needs calibration; give a calibration text")
        edits, inputs = TensorEdits(), list(all_inputs(model.structure))
        for done, where in enumerate(inputs):
            model.progress(done, len(inputs))
            columns = model.read(where.matrices[0]).shape[1]
            largest = where.pool(model.statistics(where.op).largest[:columns], np.maximum)
            where.fold(edits, np.ldexp(1.0, powers(largest)))
        return edits


AGILE = Agile()
