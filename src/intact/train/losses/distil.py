"""Distillation: the forward KL divergence to a teacher's distribution at every weighted position (arXiv 1503.02531)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intact.train.arithmetic.sums import integer_sum, weighted_sum
from intact.train.examples import Row, TrainExample, sequences_of
from intact.train.pieces import Loss, RowLoss, ScoredRow


@dataclass(frozen=True)
class Distil(Loss):
    """sum of w * KL(teacher, student) over positions, divided by the sum of w; the gradient by logits is w (p - t)."""

    name: ClassVar[str] = "distil"
    summary: ClassVar[str] = "Imitate another model's distributions"
    rows: ClassVar[type[Row]] = TrainExample
    needs_teacher: ClassVar[bool] = True

    def size(self, row: Row) -> int:
        """Return the sum of the weights."""
        return sum(integer_sum(sequence.target_weights) for sequence in sequences_of(row))

    def judge(self, scored: ScoredRow, total: int) -> RowLoss:
        """Return the loss and the weights w / total."""
        (weights,), (divergences,) = scored.weights, scored.divergences
        slopes = (weights.astype(np.float64) / total).astype(np.float32)
        return RowLoss(weighted_sum(weights, divergences), (slopes,))
