"""The loss of rows at the engine's logits, and its gradient by the logits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from intact.numerics.fp32 import Floats
from intact.train.arithmetic.products import Products
from intact.train.examples import Row, sequences_of
from intact.train.loop.forward import EngineForward, Run
from intact.train.pieces import Loss, Scored


class RowResult(NamedTuple):
    """A row's loss (nats, Q24, times the step's total), its runs, and the gradient of each run's logits."""

    loss: int
    runs: tuple[Run, ...]
    slopes: tuple[Floats, ...]


class Scorer:
    """Computes losses of rows.

    Parameters
    ----------
    forward : EngineForward
        The model in training.
    adapter : int
        Number of its adapter; -1 for none.
    reference : EngineForward, optional
        The model before training, for losses that need it; with an adapter, the same executor runs it.
    teacher : EngineForward, optional
        The model to imitate, for losses that need it.
    """

    def __init__(
        self,
        loss: Loss,
        products: Products,
        forward: EngineForward,
        adapter: int,
        reference: EngineForward | None = None,
        teacher: EngineForward | None = None,
    ) -> None:
        self._loss, self._products, self._forward, self._adapter = loss, products, forward, adapter
        self._reference, self._teacher = reference, teacher

    def score(self, row: Row, total: int, keep: bool = True) -> RowResult:
        """Run a row's sequences; without `keep`, only the loss is computed."""
        sequences = sequences_of(row)
        runs = tuple(self._forward.run(sequence, self._adapter, keep) for sequence in sequences)
        before: tuple[Run, ...] = ()
        if self._loss.needs_reference:
            model = self._reference or self._forward
            before = tuple(model.run(sequence, -1, False) for sequence in sequences)
        if self._loss.needs_teacher:
            assert self._teacher is not None
            before = tuple(self._teacher.run(sequence, -1, False) for sequence in sequences)
        scored = Scored(
            tuple(run.logprobs for run in runs),
            tuple(sequence.target_weights for sequence in sequences),
            tuple(run.logprobs for run in before),
        )
        logits = tuple(run.logits for run in before) if self._loss.needs_teacher else ()
        judged = self._loss.judge(scored, total)
        if not keep:
            return RowResult(judged.loss, runs, ())
        slopes = []
        for number, (sequence, run) in enumerate(zip(sequences, runs, strict=True)):
            goal = self._products.softmax(logits[number]) if logits else None
            slopes.append(logit_slopes(self._products.softmax(run.logits), sequence.targets, judged.slopes[number], goal))
        return RowResult(judged.loss, runs, tuple(slopes))


def logit_slopes(
    probabilities: Floats, targets: np.ndarray, weights: Floats, goal: Floats | None = None
) -> Floats:
    """Return the gradient by logits: w (p - goal), by default with the target's unit vector as goal.

    Parameters
    ----------
    probabilities : float32 (n, vocabulary)
    targets : int64 (n,)
    weights : float32 (n,)
        Minus the derivatives of the loss by the log-probabilities.
    goal : float32 (n, vocabulary), optional
        The teacher's probabilities.
    """
    if goal is not None:
        return (probabilities - goal) * weights[:, None]
    slopes = probabilities.copy()
    slopes[np.arange(len(targets)), targets] -= np.float32(1.0)
    return slopes * weights[:, None]
