"""The loss of rows at the engine's logits, and its gradient by the logits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics import fp32
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.products import Products
from intact.train.examples import Row, Sequenced, sequences_of
from intact.train.loop.forward import EngineForward, Run
from intact.train.pieces import LOGPROB_FRACTION, Loss, ScoredRow


class RowResult(NamedTuple):
    """A row's loss (nats, Q24, times the step's total), its runs, and the gradient of each run's logits."""

    loss: int
    runs: tuple[Run, ...]
    slopes: tuple[Floats, ...]


class LossScorer:
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
        before = self._before(sequences)
        goals = [self._products.softmax(run.logits) for run in before] if self._loss.needs_teacher else []
        scored = ScoredRow(
            tuple(run.logprobs for run in runs),
            tuple(sequence.target_weights for sequence in sequences),
            tuple(run.logprobs for run in before),
            tuple(map(divergence, sequences, runs, before, goals)),
        )
        judged = self._loss.judge(scored, total)
        if not keep:
            return RowResult(judged.loss, runs, ())
        slopes = []
        for number, (sequence, run) in enumerate(zip(sequences, runs, strict=True)):
            goal = goals[number] if goals else None
            p = self._products.softmax(run.logits)
            slopes.append(logit_slopes(p, sequence.targets, judged.slopes[number], goal))
        return RowResult(judged.loss, runs, tuple(slopes))

    def _before(self, sequences: tuple[Sequenced, ...]) -> tuple[Run, ...]:
        """Run the sequences through the teacher, or the model before training, if the loss needs one."""
        if self._loss.needs_teacher:
            assert self._teacher is not None
            return tuple(self._teacher.run(sequence, -1, False) for sequence in sequences)
        if self._loss.needs_reference:
            model = self._reference or self._forward
            return tuple(model.run(sequence, -1, False) for sequence in sequences)
        return ()


def divergence(sequence: Sequenced, run: Run, teacher: Run, goal: Floats) -> NDArray[np.int64]:
    """Return KL(teacher, student) at each target, nats, Q24.

    The sum over the vocabulary of t (z_t - z), minus the difference of both logarithms of partition functions, which
    follow from the target's logit and log-probability.
    """
    at = np.arange(len(sequence.targets)), sequence.targets
    apart = teacher.logits - run.logits
    shift = np.ldexp((teacher.logprobs - run.logprobs).astype(np.float64), -LOGPROB_FRACTION)
    found = fp32.dot(goal, apart).astype(np.float64) - apart[at] + shift
    whole: NDArray[np.int64] = np.floor(np.ldexp(found, LOGPROB_FRACTION) + 0.5).astype(np.int64)
    return whole


def logit_slopes(
    probabilities: Floats, targets: NDArray[np.int64], weights: Floats, goal: Floats | None = None
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
