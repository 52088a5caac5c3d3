"""Agile-Quant's power-of-two factors of channels: a large input is divided by 2 or 4, so that its neighbours keep bits.

Inputs of a product share a step for each block of 32. A channel that is divided by 2^a before it is rounded, and whose
weights are multiplied by 2^a, has an error 2^a as large for the same step, and the step need no longer reach over it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.fixed import Int
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform
from intact.quantizing.quantizers.transforms.folding import all_inputs

MOST: Final = 2
"""The largest a: factors are 1, 2 and 4."""
BLOCK: Final = 32


def powers(largest: Int) -> Int:
    """Return for each input the power a of two by which it is divided, 0 to 2.

    The squared error of a block is in proportion to the sum of 4^a times the square of the largest input of the block
    after the division. The least of all choices is taken, of equal ones that of the larger step.

    Parameters
    ----------
    largest : int64 (K,)
        The largest size of each input on a text, at most 2^20.
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
    """Agile-Quant's factors, for all inputs whose makers can be scaled."""

    name = "agile"
    summary = "large inputs divided by 2 or 4, so that a block's step is finer"
    source = "Agile-Quant; shawnricecake/agile-quant, ptq/observer/ptf.py"
    calibrated = True

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        if model.statistics is None:
            raise ParameterError(f"{self.name}: needs calibration; name a text")
        edits, inputs = TensorEdits(), list(all_inputs(model.structure))
        for done, where in enumerate(inputs):
            model.progress(done, len(inputs))
            columns = model.read(where.matrices[0]).shape[1]
            largest = where.pool(model.statistics(where.op).largest[:columns], np.maximum)
            where.fold(edits, np.ldexp(1.0, powers(largest)))
        return edits


AGILE = Agile()
