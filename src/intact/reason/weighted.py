"""Weighted populations, which particle methods, votes and searches transform (docs/reasoning.md, Compositions)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from intact._base.exact import Number, exp, ln
from intact._base.exact import weight as exact_weight
from intact.reason.weights import effective_size, log_mean, relative

X = TypeVar("X")
Keeps: TypeAlias = Literal["exactly", "in expectation", "up to a factor", "no"]
"""The sense in which a transformer's result has the measure stated as its meaning: for every draw, in expectation over
its own draws, for every draw up to a factor shared by all particles, or not at all.
"""


@dataclass(frozen=True, slots=True)
class Log:
    """The weight e^value, stored as its logarithm, so that products of many factors do not underflow.

    The weight 0 has logarithm -inf, and stays 0 when multiplied or divided by anything.
    """

    value: float

    @classmethod
    def of(cls, number: Number) -> Log:
        """Convert a nonnegative number to a logarithm, rounded once."""
        return cls(ln(float(number)))

    def __bool__(self) -> bool:
        return self.value > -math.inf

    def __mul__(self, other: Log) -> Log:
        return Log(self.value + other.value) if self else self

    def __rmul__(self, other: Number) -> Log:
        return Log.of(other) * self

    def __truediv__(self, other: Log) -> Log:
        return Log(self.value - other.value) if self else self


Weight: TypeAlias = Number | Log
"""A nonnegative number, either exact or as a logarithm."""


class Law(NamedTuple):
    """The effect of a transformer on the measure, with the name used in compositions."""

    name: str
    meaning: str
    keeps: Keeps


@dataclass(frozen=True, slots=True)
class Weighted(Generic[X]):
    """Weighted values that represent a measure: value i has mass ``weights[i] / whole``.

    The meaning of a program that makes such a population is the expected measure, ``E[sum_i w_i f(x_i)] / whole`` for
    each f. Weights are not normalised: the total mass is the evidence.

    Attributes
    ----------
    values : tuple
        Values of any type; in methods, they are texts (`State`, `Trajectory`).
    weights : tuple of Weight
        One weight per value.
    whole : number
        The number of particles that share the mass; a transformer changes it only if its meaning says so.
    history : tuple of Law
        The transformers that produced the population, in order; when two populations are joined, the second one's
        transformers follow.
    """

    values: tuple[X, ...]
    weights: tuple[Weight, ...]
    whole: Number = 1
    history: tuple[Law, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[X]:
        return iter(self.values)

    @property
    def composition(self) -> str:
        """The names of the transformers that produced the population."""
        return " ".join(law.name for law in self.history)

    @property
    def mass(self) -> Weight:
        """The total mass: the evidence."""
        return mean_weight(self.weights, self.whole)

    @property
    def log_mass(self) -> float:
        """The natural logarithm of the mass."""
        return logarithm(self.mass)

    @property
    def effective_size(self) -> float:
        """The effective sample size, `(sum w)^2 / sum w^2`; 0 if all weights are 0."""
        return effective_size(self.relative()) if any(self.weights) else 0.0

    def relative(self, temperature: float = 1.0) -> list[Number]:
        """Return the weights to the power 1/temperature, up to a common factor, as exact numbers.

        Raises
        ------
        ParameterError
            If all weights are 0, or the temperature is not above 0.
        """
        return relative_weights(self.weights, temperature)

    def where(self, holds: Callable[[X], bool]) -> list[int]:
        """Return the indices of the values that satisfy a condition."""
        return [i for i, value in enumerate(self.values) if holds(value)]

    def measure(self) -> dict[X, Fraction]:
        """Return the exact mass of each value; logarithmic weights are first rounded to doubles."""
        found: dict[X, Fraction] = {}
        for value, one in zip(self.values, self.weights, strict=True):
            mass = Fraction(exp(one.value) if isinstance(one, Log) else one) / Fraction(self.whole)
            found[value] = found.get(value, Fraction(0)) + mass
        return found


def logarithm(weight: Weight) -> float:
    """Return the natural logarithm of a weight."""
    return weight.value if isinstance(weight, Log) else ln(float(weight))


def relative_weights(weights: Sequence[Weight], temperature: float = 1.0) -> list[Number]:
    """Return weights to the power 1/temperature, up to a common factor, as exact numbers (`Weighted.relative`)."""
    numbers = [weight for weight in weights if not isinstance(weight, Log)]
    if temperature == 1 and len(numbers) == len(weights):
        return numbers
    return list[Number](relative([logarithm(weight) for weight in weights], temperature))


def mean_weight(weights: Sequence[Weight], count: Number, temperature: float = 1.0) -> Weight:
    """Return ``sum_i w_i^(1/temperature) / count``: a fraction if the weights are numbers, else a logarithm."""
    numbers = [exact_weight(weight) for weight in weights if not isinstance(weight, Log)]
    if temperature == 1 and len(numbers) == len(weights):
        return sum(numbers, Fraction(0)) / Fraction(count)
    logs = [logarithm(weight) for weight in weights]
    return Log(log_mean(logs, count, temperature) if any(weights) else -math.inf)
