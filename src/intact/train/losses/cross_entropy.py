"""Cross-entropy: the weighted mean of minus the log-probability of each target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intact.train.arithmetic.sums import integer_sum, weighted_sum
from intact.train.examples import Labelled, Row, TrainExample, sequences_of
from intact.train.pieces import Loss, RowLoss, ScoredRow


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """sum over positions of w * -log p(target), divided by the sum of w over the step."""

    name: ClassVar[str] = "cross_entropy"
    summary: ClassVar[str] = "Predict the tokens that have a weight, or the label"
    rows: ClassVar[tuple[type[Row], ...]] = (TrainExample, Labelled)

    def size(self, row: Row) -> int:
        """Return the sum of the weights."""
        return sum(integer_sum(sequence.target_weights) for sequence in sequences_of(row))

    def judge(self, scored: ScoredRow, total: int) -> RowLoss:
        """Return the loss and the derivatives w / total."""
        (logprobs,), (weights,) = scored.logprobs, scored.weights
        slopes = (weights.astype(np.float64) / total).astype(np.float32)
        return RowLoss(-weighted_sum(weights, logprobs), (slopes,))
