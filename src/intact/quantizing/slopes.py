"""Slopes of a model's divergence by the power of noise in one matrix, by which Q-Palette weighs matrices.

A matrix gets noise of several powers, relative to its own; of each the mean KL divergence from the source is measured
on a few windows, in FP32 arithmetic, and a line through the origin is fitted to them. Noise has one size and random
signs (Hutchinson's vectors, which HAWQ uses to estimate traces), so that the slope is also, to second order, half the
trace of the Hessian of the divergence times the matrix's mean square.
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
"""Of the noise, in powers of the matrix: up to Q-Palette's 1/16."""
CONTEXT: Final = 256
WINDOWS: Final = 2
"""Of the calibration text, at most."""


def noisy(matrix: NDArray[np.float32], power: Fraction, seed: str) -> NDArray[np.float32]:
    """Return a matrix to each of whose values plus or minus sqrt(power * mean square) is added, by a stream of bits."""
    size = math.sqrt(squares(matrix.astype(np.float64)) / matrix.size * power)
    bits = np.frombuffer(shake_128(seed.encode()).digest(-(-matrix.size // 8)), np.uint8)
    signs = np.where(np.unpackbits(bits)[: matrix.size].reshape(matrix.shape), 1.0, -1.0)
    changed: NDArray[np.float32] = (matrix + signs * size).astype(np.float32)
    return changed


def slope(divergences: Sequence[float]) -> float:
    """Return the slope of the line through the origin that fits divergences by powers of noise, by least squares."""
    above = sum((power * rational(kl) for power, kl in zip(POWERS, divergences, strict=True)), Fraction(0))
    return float(above / sum(power * power for power in POWERS))


class Meter:
    """Measures the mean KL divergence of a model from itself with one matrix changed.

    Parameters
    ----------
    program : Program
    text : Calibration
        Its first windows are read, with as much context as they have up to 256 tokens.
    """

    def __init__(self, program: Program, text: Calibration, threads: int | None = None) -> None:
        self.program, self.threads = program, threads
        self.text = replace(text, context=min(text.context, CONTEXT), windows=min(text.windows, WINDOWS))
        self._source = [logits.copy() for logits in window_logits(program, self.text, "fp32", threads)]

    def divergence(self, name: str, matrix: NDArray[np.float32]) -> float:
        """Return the mean divergence with another matrix under a canonical name."""
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

    Divergences that were measured are kept in a file in `folder`, named by model and text, after each matrix.

    Parameters
    ----------
    model : str
        The digest of the model's weights.
    progress : callable
        Called with a stage (``measure divergence``), and how many of how many matrices are done.
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
