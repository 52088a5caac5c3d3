"""A learnt value head stored as integers, and its exact value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from intact._base.errors import ParameterError
from intact._base.exact import exp
from intact.engine.hidden import HiddenState
from intact.reason.problem import Hidden
from intact.tasks.score.value.learnt import BITS, WIDEST, LearntHead, integer_weights

FARTHEST = 700
"""Log-odds are clamped to this magnitude, beyond which the value no longer changes."""


@dataclass(frozen=True)
class ValueHead(LearntHead):
    """The probability that a completion ends in a right answer: a logistic function of a model's final hidden state.

    Attributes
    ----------
    model, learnt
        As in every `LearntHead`.
    weights : tuple of int
        One per component, at most 2^20 in magnitude, scaled by 2^-fraction.
    fraction : int
    bias : int
        Scaled by 2^-32.
    """

    kind: ClassVar[str] = "intact value head"
    model: str
    weights: tuple[int, ...]
    fraction: int
    bias: int
    learnt: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str, weights: Sequence[float], bias: float, learnt: Mapping[str, Any]) -> ValueHead:
        """Round weights to integers.

        Raises
        ------
        ParameterError
            If a weight is not finite, or there are too many.
        """
        given = np.asarray(weights, np.float64)
        if not 1 <= len(given) <= WIDEST or not np.all(np.isfinite(given)) or not abs(bias) < 1 << 30:
            raise ParameterError(f"a value head must have 1 to {WIDEST} finite weights and a finite bias")
        rounded, fraction = integer_weights(given)
        return cls(model, tuple(rounded.tolist()), fraction, round(bias * (1 << 32)), learnt=learnt)

    def logit(self, state: HiddenState) -> Fraction:
        """Return the exact log-odds.

        Raises
        ------
        ParameterError
            If the state has a different width.
        """
        self.check_width(state, len(self.weights))
        total = int(state.values @ np.array(self.weights, np.int64))
        return total * Fraction(2) ** (state.exponent - self.fraction) + Fraction(self.bias, 1 << 32)

    def value(self, state: HiddenState) -> float:
        """Return the probability, 1 / (1 + e^-logit); its bits depend only on the integers."""
        logit = min(max(self.logit(state), Fraction(-FARTHEST)), Fraction(FARTHEST))
        return 1 / (1 + exp(-float(logit)))

    def judge(self, hidden: Hidden) -> float:
        """Return the probability for a hidden state from a back end; raise as `state_of` does."""
        return self.value(self.state_of(hidden))

    def numbers(self) -> dict[str, Any]:
        """Return its integers, by their names in the file."""
        return {"fraction": self.fraction, "bias": self.bias, "weights": self.weights}

    @classmethod
    def from_members(cls, value: Mapping[str, Any]) -> ValueHead:
        """Read it from the members of a file; raise ValueError, KeyError or TypeError if they are invalid."""
        weights = value["weights"]
        if not isinstance(weights, list) or not 1 <= len(weights) <= WIDEST:
            raise ValueError(f"weights must be a list of 1 to {WIDEST} integers")
        limits = [(weights, 1 << BITS), ([value["fraction"]], 1 << 10), ([value["bias"]], 1 << 62)]
        for numbers, largest in limits:
            if any(type(number) is not int or abs(number) > largest for number in numbers):
                raise ValueError(f"weights, fraction and bias must be integers, weights to 2^{BITS} in magnitude")
        return cls(value["model"], tuple(weights), value["fraction"], value["bias"], learnt=value["learnt"])

    @property
    def digest(self) -> str:
        """SHA-256 of everything that its values depend on."""
        return hashlib.sha256(json.dumps([self.model, self.weights, self.fraction, self.bias]).encode()).hexdigest()
