"""Hidden states: read them from an executor's bytes as integers, and keep the most recent ones of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.activations import BLOCK

_FRACTION = 16  # fraction bits of floats converted to integers
_LARGEST = (1 << 31) - 1


class HiddenState(NamedTuple):
    """An input of a model's head.

    Attributes
    ----------
    values : int64 (width,)
        At most 2^31 in magnitude.
    exponent : int
        Each component is its value times 2^exponent.
    """

    values: NDArray[np.int64]
    exponent: int

    @property
    def floats(self) -> NDArray[np.float64]:
        """The components as floats; exact unless outside the range of a double."""
        return np.ldexp(self.values.astype(np.float64), self.exponent)


def read_hidden(data: bytes, profile: str) -> HiddenState:
    """Parse a row of `Executor.head_inputs`.

    In the int8 profile, codes and scales give exact integers; in fp32, floats are rounded to 2^-16, half to even, and
    clamped at 2^15.

    Raises
    ------
    ParameterError
        If the length is impossible, or a float is not finite.
    """
    if profile == "fp32":
        if not data or len(data) % 4:
            raise ParameterError(f"a hidden state must be a whole number of floats, got {len(data)} bytes")
        floats = np.frombuffer(data, "<f4").astype(np.float64)
        if not np.all(np.isfinite(floats)):
            raise ParameterError("a hidden state has non-finite components")
        scaled = np.clip(np.rint(np.ldexp(floats, _FRACTION)), -_LARGEST, _LARGEST)
        return HiddenState(scaled.astype(np.int64), -_FRACTION)
    blocks, rest = divmod(len(data) - 4, BLOCK + 2)
    if blocks < 1 or rest:
        raise ParameterError(f"a hidden state must be a whole number of blocks of {BLOCK} codes, got {len(data)} bytes")
    codes = np.frombuffer(data, np.int8, blocks * BLOCK).astype(np.int64).reshape(blocks, BLOCK)
    scales = np.frombuffer(data, "<i2", blocks, blocks * BLOCK).astype(np.int64)
    exponent = np.frombuffer(data, "<i4", 1, len(data) - 4)
    return HiddenState((codes * scales[:, None]).reshape(-1), int(exponent[0]))


class KeptRows:
    """The head inputs at the last tokens of a sequence, one per token, without gaps.

    Attributes
    ----------
    first : int
        Position of the first row.
    rows : list of bytes
        Rows in the format of `Executor.head_inputs`.

    Parameters
    ----------
    most : int
        Maximum number of rows kept.
    """

    __slots__ = ("_most", "first", "rows")

    def __init__(self, most: int, first: int = 0, rows: Sequence[bytes] = ()) -> None:
        self._most, self.first, self.rows = most, first, list(rows)

    def add(self, position: int, rows: Sequence[bytes]) -> None:
        """Set rows starting at a position; rows before a gap are dropped, and so are the oldest beyond the limit."""
        if self.first <= position <= self.first + len(self.rows):
            self.rows[position - self.first :] = rows
        else:
            self.first, self.rows = position, list(rows)
        if (excess := len(self.rows) - self._most) > 0:
            del self.rows[:excess]
            self.first += excess

    def copy(self) -> KeptRows:
        """Return a copy, for another sequence with the same beginning."""
        return KeptRows(self._most, self.first, self.rows)
