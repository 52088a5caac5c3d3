"""The interface through which operations become dispatches of shaders on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.tables import Tables


class RowOffset(NamedTuple):
    """A buffer's part of a row: its first word, its number of elements, and 1 if an element has two words, else 0."""

    offset: int
    width: int
    wide: int


class ProductTarget(NamedTuple):
    """One matrix of a product.

    Attributes
    ----------
    weight : str
        Name of the matrix.
    place : RowOffset
        Where its outputs go.
    bias : int
        Offset of the bias in the vectors, plus 1; 0 for none.
    accumulate : bool
        If true, outputs are added to the place.
    """

    weight: str
    place: RowOffset
    bias: int = 0
    accumulate: bool = False


class Shading(Protocol):
    """A plan of dispatches under construction. Offsets are in words of 32 bits."""

    fraction: dict[str, int]
    """Fraction bits of each buffer at this point of the program."""

    @property
    def tables(self) -> Tables:
        """Tables of the program."""

    @property
    def page_size(self) -> int:
        """Positions of a page of the KV cache."""

    @property
    def padded_width(self) -> int:
        """Width of a head in the cache."""

    def row(self, buffer: str) -> RowOffset:
        """Return a buffer's part of a row."""

    def vector(self, values: NDArray[Any]) -> int:
        """Add a vector, int32 or int64 (two words an element); return its offset."""

    def bias(self, name: str | None, fraction: int) -> int:
        """Add a tensor's values with this many fraction bits; return the offset plus 1, or 0 without a name."""

    def rotation(self, index: int) -> tuple[int, int]:
        """Return a rotation's number of frequencies, and that of the rotations before it."""

    def dispatch(
        self,
        shader: str,
        numbers: Mapping[str, Any],
        across: int = 1,
        *,
        buffers: Sequence[str] = (),
    ) -> None:
        """Append a dispatch of a shader with `across` workgroups for each row."""

    def gather(self, source: str, target: str, index: NDArray[np.int32], *, keep: bool = False) -> None:
        """Append a copy of columns; those whose index is -1 become 0, or stay unchanged if `keep`."""

    def embed(self, weight: str, numbers: Mapping[str, Any]) -> None:
        """Append an addition or a copy of rows of a matrix."""

    def quantize(self, row: RowOffset, fraction: int, *, wanted: bool = False) -> int:
        """Append a quantisation of rows, or of the wanted ones; return the offset of the codes."""

    def product(self, codes: int, targets: Sequence[ProductTarget], *, adapter: int = 0) -> None:
        """Append products of the quantised rows with matrices.

        Parameters
        ----------
        codes : int
            Offset of the codes.
        adapter : int
            The adapter whose rows alone change, plus 1; 0: all rows.
        """

    def head(self, codes: int, weight: str | None, cap: tuple[int, int]) -> None:
        """Append the head's product with the wanted rows; without a weight, only their codes are kept.

        `cap` is the slope and the limit of the soft cap, 0 and 0 for none.
        """

    def inner(self, key: str, width: int) -> RowOffset:
        """Return a narrow part of a row that belongs to no buffer; the same key gives the same part."""
