"""Shared parts of recurrent layers: bounds on their parameters, and the cache of rows and states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.models.aspects.convolved import Convolved, convolution_taps, seen_rows
from intact.models.aspects.op import Recurrent
from intact.models.aspects.parameters import bias_values, integer_bias
from intact.models.aspects.step import ReferenceStep, Rows
from intact.models.aspects.tables import Tables
from intact.numerics.functions import LOG2E
from intact.numerics.scan import BLOCK, MOST_STATES, RATE_FRACTION, RATE_LIMIT, convolved, input_rows


class NativeScan(NamedTuple):
    """The fields of a native recurrent layer (ScanForm, native/runtime/scan.h), with vectors by number, -1 for none."""

    heads: int
    width: int
    groups: int
    states: int
    taps: int
    bias: int = -1
    step_bias: int = -1
    rate: int = -1
    skip: int = -1
    delta: bool = False
    tiled: bool = False
    selective: bool = False
    angles: int = 0
    input_bias: int = -1
    output_bias: int = -1
    slowest: int = 0


def check_states(tables: Tables, states: int, parameter: str) -> None:
    """Raise if sums over the columns of a state could exceed their bounds; `parameter` names one of its tensors."""
    if states > MOST_STATES:
        tensor = tables.tensors[parameter].name
        raise ModelError(f"tensor {tensor}: states of {states} columns pass the proven bounds, at most {MOST_STATES}")


def integer_rates(tables: Tables, name: str, decay: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the decay rates of states, in Q20 and base 2, computed from A."""
    rate = np.floor(-decay.astype(np.float64) * (LOG2E * 2.0 ** (RATE_FRACTION - 30)) + 0.5)
    if not (rate.min() >= 0 and rate.max() < RATE_LIMIT):
        tensor = tables.tensors[name].name
        raise ModelError(f"tensor {tensor}: decays must lie in [-709, 0], found {decay.min():.6g} to {decay.max():.6g}")
    return rate.astype(np.int64)


class HeadLayer(Convolved, Protocol):
    """A recurrent layer of heads that follows a convolution."""

    @property
    def states(self) -> int:
        """Number of columns of a state."""

    @property
    def decay(self) -> str:
        """Name of the tensor A."""

    @property
    def step_bias(self) -> str:
        """Name of the tensor that is added to dt."""


class HeadParameters(NamedTuple):
    """A layer's convolution weights, dt_bias and decay rates, as integers."""

    taps: Rows
    step_bias: Rows
    rate: Rows


def head_parameters(tables: Tables, op: HeadLayer) -> HeadParameters:
    """Return the parameters of a layer of heads as integers.

    Raises
    ------
    ModelError
        If a parameter is too large, or a head's state would grow without input.
    """
    check_states(tables, op.states, op.decay)
    rate = integer_rates(tables, op.decay, bias_values(tables, op.decay))
    return HeadParameters(convolution_taps(tables, op), integer_bias(tables, op.step_bias, 16), rate)


def convolved_rows(s: ReferenceStep, op: Convolved, source: str, taps: Rows, bias: Rows) -> Rows:
    """Return SiLU of the convolution of a layer's rows, Q16."""
    return np.array([convolved(rows, taps, bias) for rows in seen_rows(s, op, input_rows(s.rows[source]))])


def by_positions(
    s: ReferenceStep,
    op: Recurrent,
    new: Sequence[Rows],
    start: Sequence[Rows],
    results: Callable[[Sequence[Rows], int, Sequence[Rows]], tuple[Sequence[Rows], Rows]],
) -> Rows:
    """Return the results of a layer whose state is rounded at every position, and store its rows and states.

    Parameters
    ----------
    new : sequence of arrays
        The parts of the new rows, as the cache stores them.
    start : sequence of arrays
        The state at the start of a sequence.
    results : function
        Given the parts of a block's rows (preceded by the row before the block), the index of a row in them and the
        state before this row, returns the state after it and its result.
    """
    kept, states, out = s.memory.cached(op), s.memory.states(op), list[Rows]()
    for chunk, rows, slots, own in s.by_chunk():
        for array, values in zip(kept, new, strict=True):
            array[own] = values[rows]
        first = chunk.position - chunk.position % BLOCK  # states are recomputed from the block's start
        before, state = max(first - 1, 0), start
        if first:
            state = [array[s.memory.state(chunk.pages, first - 1)] for array in states]
        block = [array[slots[before : chunk.end]] for array in kept]
        for p in range(first, chunk.end):
            state, result = results(block, p - before, state)
            if p >= chunk.position:
                out.append(result)
                if p % BLOCK == BLOCK - 1:
                    for array, value in zip(states, state, strict=True):
                        array[s.memory.state(chunk.pages, p)] = value
    return np.array(out)
