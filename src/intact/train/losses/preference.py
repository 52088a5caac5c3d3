"""Losses of preference pairs: DPO (arXiv 2305.18290), IPO (arXiv 2310.12036) and SimPO (arXiv 2405.14734)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics import fp32
from intact.numerics.fixed import sat32
from intact.numerics.fp32 import Floats
from intact.numerics.scan import STEP_FRACTION, softplus
from intact.train.arithmetic.sums import integer_sum, weighted_sum
from intact.train.examples import Pair, Row
from intact.train.pieces import LOGPROB_FRACTION, Loss, RowLoss, ScoredRow
from intact.train.rationals import rational

KINDS: Final = ("dpo", "ipo", "simpo")


@dataclass(frozen=True)
class Preference(Loss):
    """A function of the margin m between the summed log-probabilities of both answers; the mean over pairs.

    dpo: m = beta ((chosen - its reference) - (rejected - its reference)), loss -log sigmoid(m). ipo: the same without
    beta, loss (m - 1 / (2 beta))^2. simpo: m = beta (mean of chosen - mean of rejected) - gamma, loss -log sigmoid(m),
    without reference.

    Parameters
    ----------
    kind : str
        "dpo", "ipo" or "simpo".
    beta : str
    gamma : str
        The margin that SimPO aims at.
    """

    name: ClassVar[str] = "preference"
    summary: ClassVar[str] = "Prefer chosen answers to rejected ones: DPO, IPO or SimPO"
    rows: ClassVar[type[Row]] = Pair

    kind: str = "dpo"
    beta: str = "1/10"
    gamma: str = "0"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ParameterError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r:.40}")
        if not rational("beta", self.beta) > 0:
            raise ParameterError(f"beta must be above 0, got {self.beta}")
        rational("gamma", self.gamma)

    @property
    def needs_reference(self) -> bool:  # type: ignore[override]
        """True except for SimPO."""
        return self.kind != "simpo"

    def size(self, row: Row) -> int:
        """Return 1: losses are means over pairs."""
        return 1

    def judge(self, scored: ScoredRow, total: int) -> RowLoss:
        """Return the loss, and the derivatives of both answers' log-probabilities."""
        chosen, rejected = (
            weighted_sum(w, logprobs) for w, logprobs in zip(scored.weights, scored.logprobs, strict=True)
        )
        sizes = [integer_sum(w) for w in scored.weights]
        beta = rational("beta", self.beta)
        one = 1 << LOGPROB_FRACTION
        if self.kind == "simpo":
            margin = beta * chosen / sizes[0] - beta * rejected / sizes[1] - rational("gamma", self.gamma) * one
            factors = [beta / sizes[0], -beta / sizes[1]]
        else:
            before = [weighted_sum(w, logprobs) for w, logprobs in zip(scored.weights, scored.reference, strict=True)]
            margin = beta * ((chosen - before[0]) - (rejected - before[1]))
            factors = [beta, -beta]
        if self.kind == "ipo":
            gap = margin / beta - one / (2 * beta)
            loss = int(gap * gap / one)
            strength, factors = np.float32(float(-2 * gap / one)), [factors[0] / beta, factors[1] / beta]
        else:
            steepness = np.array([float(-margin / one)], np.float32)
            strength = fp32.sigmoid(steepness)[0]
            loss = minus_log_sigmoid(int(margin))
        slopes = tuple(
            _spread(w, strength * np.float32(float(factor / total)))
            for w, factor in zip(scored.weights, factors, strict=True)
        )
        return RowLoss(loss, slopes)


def minus_log_sigmoid(margin: int) -> int:
    """Return log(1 + exp(-margin)), Q24 to Q24, by the engine's integer softplus."""
    size = np.array([-abs(margin) >> (LOGPROB_FRACTION - 16)], np.int64)
    return max(-margin, 0) + (int(softplus(sat32(size))[0]) >> (STEP_FRACTION - LOGPROB_FRACTION))


def _spread(weights: NDArray[np.int64], factor: np.float32) -> Floats:
    return weights.astype(np.float32) * factor
