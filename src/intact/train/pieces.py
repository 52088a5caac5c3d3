"""The interfaces of the trainer's pieces: losses, trained parameters, optimisers and schedules, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.models.program import Program
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.passes import Learned
from intact.train.arithmetic.products import Products
from intact.train.examples import Row

LOGPROB_FRACTION = 24
"""Fraction bits of log-probabilities and losses, in nats."""


@dataclass(frozen=True)
class TrainPiece(ABC):
    """A named part of a recipe; its fields are its parameters.

    Attributes
    ----------
    name : str
    version : int
        Raised with every change of results.
    summary : str
        One line for lists.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str]


class ScoredRow(NamedTuple):
    """A row's sequences as a loss sees them.

    Attributes
    ----------
    logprobs : tuple of int64 (n,)
        For each sequence, the log-probabilities of its targets, Q24 nats.
    weights : tuple of int64 (n,)
    reference : tuple of int64 (n,)
        The same log-probabilities by the model before training or the teacher; empty unless the loss needs them.
    divergences : tuple of int64 (n,)
        KL divergence from the teacher's distribution to the model's, Q24 nats; empty without a teacher.
    """

    logprobs: tuple[NDArray[np.int64], ...]
    weights: tuple[NDArray[np.int64], ...]
    reference: tuple[NDArray[np.int64], ...] = ()
    divergences: tuple[NDArray[np.int64], ...] = ()


class RowLoss(NamedTuple):
    """A row's loss (nats, Q24, before the division by the step's total), and its derivatives.

    Attributes
    ----------
    loss : int
    slopes : tuple of float32 (n,)
        For each sequence, minus the derivative of loss / total by each target's log-probability.
    """

    loss: int
    slopes: tuple[Floats, ...]


class Loss(TrainPiece):
    """A function of the log-probabilities of a row's targets."""

    rows: ClassVar[type[Row] | tuple[type[Row], ...]]
    """Types of rows that the loss accepts."""
    needs_reference: ClassVar[bool] = False
    """If true, the model before training also scores the rows."""
    needs_teacher: ClassVar[bool] = False
    """If true, another model's logits are the target (`distil`)."""

    @abstractmethod
    def size(self, row: Row) -> int:
        """Return a row's share of the number by which a step's loss is divided."""

    @abstractmethod
    def judge(self, scored: ScoredRow, total: int) -> RowLoss:
        """Return a row's loss and derivatives, where the losses of a step are divided by `total`."""


class Parameters(TrainPiece):
    """The tensors that are trained, and their place in the program."""

    keeps_base: ClassVar[bool] = True
    """If true, the matrices of the model's own program never change."""
    adapter: ClassVar[int] = -1
    """Number of the adapter that rows use; -1 for none."""

    @abstractmethod
    def start(self, program: Program, seed: int) -> dict[str, Floats]:
        """Return the initial tensors, by name.

        Raises
        ------
        ParameterError
            If the model has no such place.
        """

    @abstractmethod
    def place(self, program: Program, tensors: Mapping[str, Floats]) -> Program:
        """Return the program with the trained tensors in it."""

    @abstractmethod
    def learned(self, program: Program, tensors: Mapping[str, Floats]) -> dict[str, Learned]:
        """Map tensors of the placed program to the trained tensors behind them."""


class Optimiser(TrainPiece):
    """A rule that moves tensors, element by element in binary32 unless it says otherwise."""

    moments: ClassVar[tuple[str, ...]]
    """Suffixes of the state's tensors, each of the shape of the trained tensor."""

    @abstractmethod
    def move(self, state: OptimiserSlot, gradient: Floats, rate: np.float32, products: Products) -> OptimiserSlot:
        """Return the tensor and its moments after a step."""

    @abstractmethod
    def bound(self, step: int) -> float | None:
        """Return a bound on an element's change in one true step, in units of the rate; None if there is none."""


class OptimiserSlot(NamedTuple):
    """A trained tensor, its moments, and the number of the step, from 1."""

    tensor: Floats
    moments: tuple[Floats, ...]
    step: int


class Schedule(TrainPiece):
    """The rate as a function of the step."""

    @abstractmethod
    def factor(self, step: int, steps: int) -> Fraction:
        """Return the factor of the rate in step `step`, from 1 to `steps`."""


def positive(name: str, value: object, least: int = 1, most: int = 1 << 31) -> None:
    """Raise unless a parameter is an integer in a range.

    Raises
    ------
    ParameterError
        If it is not.
    """
    from intact._base.errors import ParameterError

    if type(value) is not int or not least <= value <= most:
        raise ParameterError(f"{name} must be an integer from {least} to {most}, got {value!r:.40}")


def total_size(loss: Loss, rows: Sequence[Row]) -> int:
    """Return the number by which the losses of a step over these rows are divided."""
    return sum(loss.size(row) for row in rows)
