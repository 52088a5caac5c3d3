"""Read hidden states from an executor's bytes, as integers, and keep the last ones of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.activations import BLOCK

_FRACTION = 16  # of floats, as integers
_LARGEST = (1 << 31) - 1


class HiddenState(NamedTuple):
    """The input of a model's head.

    Attributes
    ----------
    values : int64 (width,)
        At most 2^31 in magnitude.
    exponent : int
        A component is its value times 2^exponent.
    """

    values: NDArray[np.int64]
    exponent: int

    @property
    def floats(self) -> NDArray[np.float64]:
        """The components; exact, but where they leave the range of a double."""
        return np.ldexp(self.values.astype(np.float64), self.exponent)


def read_hidden(data: bytes, profile: str) -> HiddenState:
    """Read a row of `Executor.head_inputs`.

    Of the int8 profile codes and scales make exact integers; floats of fp32 are rounded to 2^-16, half to even, and cut
    at 2^15.

    Raises
    ------
    ParameterError
        If it has no possible length, or a float is not a number.
    """
    if profile == "fp32":
        if not data or len(data) % 4:
            raise ParameterError(f"a hidden state of {len(data)} bytes is none of floats")
        floats = np.frombuffer(data, "<f4").astype(np.float64)
        if not np.all(np.isfinite(floats)):
            raise ParameterError("a hidden state has components that are not finite")
        scaled = np.clip(np.rint(np.ldexp(floats, _FRACTION)), -_LARGEST, _LARGEST)
        return HiddenState(scaled.astype(np.int64), -_FRACTION)
    blocks, rest = divmod(len(data) - 4, BLOCK + 2)
    if blocks < 1 or rest:
        raise ParameterError(f"a hidden state of {len(data)} bytes has no whole blocks of {BLOCK} codes")
    codes = np.frombuffer(data, np.int8, blocks * BLOCK).astype(np.int64).reshape(blocks, BLOCK)
    scales = np.frombuffer(data, "<i2", blocks, blocks * BLOCK).astype(np.int64)
    exponent = np.frombuffer(data, "<i4", 1, len(data) - 4)
    return HiddenState((codes * scales[:, None]).reshape(-1), int(exponent[0]))


class KeptRows:
    """The head's inputs behind the last tokens of a text, one for each, without a gap.

    Attributes
    ----------
    first : int
        The position of the first row.
    rows : list of bytes
        As `Executor.head_inputs` writes them.

    Parameters
    ----------
    most : int
        The most rows that are kept.
    """

    __slots__ = ("_most", "first", "rows")

    def __init__(self, most: int, first: int = 0, rows: Sequence[bytes] = ()) -> None:
        self._most, self.first, self.rows = most, first, list(rows)

    def add(self, position: int, rows: Sequence[bytes]) -> None:
        """Set rows from a position on; those before a gap are dropped, and the oldest beyond the limit."""
        if self.first <= position <= self.first + len(self.rows):
            self.rows[position - self.first :] = rows
        else:
            self.first, self.rows = position, list(rows)
        if (excess := len(self.rows) - self._most) > 0:
            del self.rows[:excess]
            self.first += excess

    def copy(self) -> KeptRows:
        """Return the rows for another text that begins alike."""
        return KeptRows(self._most, self.first, self.rows)
