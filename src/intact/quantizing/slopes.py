"""Measure how a model's divergence grows with the noise power in a matrix, Q-Palette's weight for the matrix.

Noise of several powers, relative to the matrix's own, is added to a matrix. For each power, the mean KL divergence from
the source is measured on a few windows, in FP32 arithmetic, and a line through the origin is fitted. The noise has a
constant magnitude and random signs (Hutchinson's vectors, which HAWQ uses to estimate traces), so that to second order
the slope is also half the trace of the Hessian of the divergence times the matrix's mean square.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256, shake_128
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.exact import mean, rational
from intact._base.files import read_text, write_whole
from intact.checkpoints.formats import Tensor
from intact.models import Program
from intact.numerics.dequantize import dequantize
from intact.quantizing.calibration import Calibration
from intact.quantizing.divergence import compare
from intact.quantizing.logits import scored, window_logits
from intact.quantizing.quantizers.proxy import squares

POWERS: Final = tuple(Fraction(k, 64) for k in range(1, 5))
"""Noise powers, as fractions of the matrix's own power, up to Q-Palette's 1/16."""
CONTEXT: Final = 256
WINDOWS: Final = 2
"""Maximum number of windows of the calibration text."""


def noisy(matrix: NDArray[np.float32], power: Fraction, seed: str) -> NDArray[np.float32]:
    """Add plus or minus sqrt(power * mean square) to each value of a matrix, with signs from a seeded bit stream."""
    size = math.sqrt(squares(matrix.astype(np.float64)) / matrix.size * power)
    bits = np.frombuffer(shake_128(seed.encode()).digest(-(-matrix.size // 8)), np.uint8)
    signs = np.where(np.unpackbits(bits)[: matrix.size].reshape(matrix.shape), 1.0, -1.0)
    changed: NDArray[np.float32] = (matrix + signs * size).astype(np.float32)
    return changed


def slope(divergences: Sequence[float]) -> float:
    """Return the least-squares slope of the line through the origin that fits divergences against noise powers."""
    above = sum((power * rational(kl) for power, kl in zip(POWERS, divergences, strict=True)), Fraction(0))
    return float(above / sum(power * power for power in POWERS))


class Meter:
    """Measure the mean KL divergence between a model and the same model with one matrix changed.

    Parameters
    ----------
    program : Program
    text : Calibration
        The calibration text. At most two windows are read, with at most 256 tokens of context.
    """

    def __init__(self, program: Program, text: Calibration, threads: int | None = None) -> None:
        self.program, self.threads = program, threads
        self.text = replace(text, context=min(text.context, CONTEXT), windows=min(text.windows, WINDOWS))
        self._source = [logits.copy() for logits in window_logits(program, self.text, "fp32", threads)]

    def divergence(self, name: str, matrix: NDArray[np.float32]) -> float:
        """Return the mean divergence after replacing the matrix that has this canonical name."""
        old = self.program.tensors[name]
        new = Tensor(old.name, "F32", old.shape, np.ascontiguousarray(matrix, "<f4").reshape(-1).view(np.uint8))
        changed = replace(self.program, tensors={**self.program.tensors, name: new})
        after = window_logits(changed, self.text, "fp32", self.threads)
        found: list[float] = []
        for tokens, source, logits in zip(self.text.chunks(), self._source, after, strict=True):
            found += compare(source, logits, tokens[scored(self.text) + 1].astype(np.int64)).kl.tolist()
        return mean(found)


def measure_slopes(
    program: Program,
    text: Calibration,
    names: Sequence[str],
    folder: Path,
    model: str,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, float]:
    """Return the slope of each matrix, by canonical name.

    Measured divergences are saved after each matrix to a file in `folder`, named by model and text.

    Parameters
    ----------
    model : str
        The digest of the model's weights.
    progress : callable
        Called with a stage (``measure divergence``), the number of matrices done and the total.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"divergence-{sha256(f'{model} {text.digest}'.encode()).hexdigest()[:32]}.json"
    known: dict[str, list[float]] = json.loads(read_text(file)) if file.is_file() else {}
    meter: Meter | None = None
    for done, name in enumerate(names, 1):
        if name not in known:
            meter = meter or Meter(program, text, threads)
            tensor = program.tensors[name]
            matrix = dequantize(tensor.kind, tensor.data, tensor.shape)
            known[name] = [meter.divergence(name, noisy(matrix, power, f"{name} {power}")) for power in POWERS]
            write_whole(file, json.dumps(known))
        progress("measure divergence", done, len(names))
    return {name: slope(known[name]) for name in names}
