"""A learnt value head as a file of integers, and its exact value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact import strict_json
from intact.engine.hidden import HiddenState, read_hidden
from intact.errors import FormatError, ParameterError
from intact.exact import exp
from intact.files import write_whole
from intact.reason.problem import Hidden
from intact.reason.services import read_text

KIND = "intact value head"
VERSION = 1
BITS = 20
"""Bits of a weight: with 2^31 for a component and fewer than 2^12 components a sum fits int64."""
WIDEST = 4096
FARTHEST = 700
"""The log-odds beyond which it makes no difference."""


@dataclass(frozen=True)
class ValueHead:
    """The chance that a text ends in a right answer: a logistic function of a model's final hidden state.

    Attributes
    ----------
    model : str
        The identity of the back end (model, profile, numerics) on whose hidden states it was learnt.
    weights : tuple of int
        One for each component, at most 2^20 in magnitude; times 2^-fraction.
    fraction : int
    bias : int
        Times 2^-32.
    learnt : mapping
        From what, and what came of it on problems that were held out.
    """

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
            If one is not finite, or there are too many.
        """
        given = np.asarray(weights, np.float64)
        if not 1 <= len(given) <= WIDEST or not np.all(np.isfinite(given)) or not abs(bias) < 1 << 30:
            raise ParameterError(f"a value head has 1 to {WIDEST} finite weights, and a finite bias")
        rounded, fraction = integer_weights(given)
        return cls(model, tuple(rounded.tolist()), fraction, round(bias * (1 << 32)), learnt)

    def logit(self, state: HiddenState) -> Fraction:
        """The log-odds: exact.

        Raises
        ------
        ParameterError
            If the state is of another width.
        """
        if len(state.values) != len(self.weights):
            raise ParameterError(
                f"the value head reads {len(self.weights)} components, a state has {len(state.values)}"
            )
        total = int(state.values @ np.array(self.weights, np.int64))
        return total * Fraction(2) ** (state.exponent - self.fraction) + Fraction(self.bias, 1 << 32)

    def value(self, state: HiddenState) -> float:
        """The chance, 1 / (1 + e^-logit), whose bits depend on nothing but the integers."""
        logit = min(max(self.logit(state), Fraction(-FARTHEST)), Fraction(FARTHEST))
        return 1 / (1 + exp(-float(logit)))

    def judge(self, hidden: Hidden) -> float:
        """The chance, from what a back end gave.

        Raises
        ------
        ParameterError
            If it is the hidden state of another model.
        """
        if hidden.model != self.model:
            raise ParameterError(f"the value head was learnt on {self.model!r}, the text is by {hidden.model!r}")
        return self.value(read_hidden(bytes.fromhex(hidden.data), profile_of(self.model)))

    def write(self, file: Path) -> None:
        """Keep it as JSON, all of it or nothing."""
        value = {"kind": KIND, "version": VERSION, "model": self.model, "fraction": self.fraction, "bias": self.bias}
        value |= {"learnt": self.learnt, "weights": self.weights}
        write_whole(file, json.dumps(value) + "\n")

    @classmethod
    def read(cls, file: Path) -> ValueHead:
        """Read what `write` wrote.

        Raises
        ------
        FormatError
            If it is no such file.
        """
        return cls.parse(read_text(str(file)), str(file))

    @classmethod
    def parse(cls, data: str, file: str) -> ValueHead:
        """Read the content of such a file.

        Raises
        ------
        FormatError
            If it is none.
        """
        try:
            return _parsed(strict_json.parse(data, "the text", error=FormatError))
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{file} is no value head that `intact learn value` wrote: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of what its values depend on."""
        return hashlib.sha256(json.dumps([self.model, self.weights, self.fraction, self.bias]).encode()).hexdigest()


def integer_weights(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return integers of at most 2^20 in magnitude, and the fraction f of them: a value is an integer times 2^-f."""
    _, exponent = np.frexp(np.abs(values).max())
    fraction = BITS - int(exponent)  # the largest has all bits
    return np.rint(np.ldexp(values, fraction)).astype(np.int64), fraction


def profile_of(identity: str) -> str:
    """The profile of arithmetic in the identity of our engine as a back end."""
    words = identity.split()
    return words[2] if len(words) > 2 else ""


def _parsed(value: Any) -> ValueHead:
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise ValueError(f"expected an object of kind {KIND!r}")
    if value["version"] != VERSION:
        raise ValueError(f"it is of version {value['version']!r}; this program reads {VERSION}")
    weights = value["weights"]
    if not isinstance(value["model"], str) or not isinstance(weights, list) or not 1 <= len(weights) <= WIDEST:
        raise ValueError(f"model must be a text, weights a list of 1 to {WIDEST} integers")
    limits = [(weights, 1 << BITS), ([value["fraction"]], 1 << 10), ([value["bias"]], 1 << 62)]
    for numbers, largest in limits:
        if any(type(number) is not int or abs(number) > largest for number in numbers):
            raise ValueError(f"weights, fraction and bias must be integers, weights to 2^{BITS} in magnitude")
    learnt = value["learnt"]
    if not isinstance(learnt, dict):
        raise ValueError("learnt must be an object")
    return ValueHead(value["model"], tuple(weights), value["fraction"], value["bias"], learnt)
