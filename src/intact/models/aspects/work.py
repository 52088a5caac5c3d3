"""The work of an operation in multiply-adds and bytes, for plans and profiles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from intact.models.aspects.tables import Tables

ROWS, PRODUCT, WAIT = range(3)
"""Timed parts of an operation (native/runtime/stopwatch.h)."""

Label: TypeAlias = tuple[str, str]
"""Kind and label of a part: for example "linear", and the matrices that it multiplies by."""


class WorkSize(NamedTuple):
    """Multiply-adds and bytes."""

    macs: int
    bytes: int


class RowCounts(NamedTuple):
    """Numbers of rows that an operation processed in some steps.

    Attributes
    ----------
    steps : int
    rows : int
        All rows; after the last operation that reads other rows, only those whose logits are wanted.
    wanted : int
        Rows whose logits are wanted.
    attending, pairs, positions : int
        For attention: rows with a result, the total number of positions they attend to, and positions read from the
        cache.
    source : str or None
        Input buffer of a norm that is fused into the operation.
    """

    steps: int
    rows: int
    wanted: int
    attending: int = 0
    pairs: int = 0
    positions: int = 0
    source: str | None = None


@dataclass(frozen=True)
class Sizes:
    """Sizes in memory, in bytes.

    Attributes
    ----------
    float32 : bool
        If true, rows, keys and values are float32 (profile fp32), else integers.
    weight : function
        Returns the size of a matrix in memory, by its name.
    position : int
        Size of one key and its value.
    """

    tables: Tables
    float32: bool
    weight: Callable[[str], int]
    position: int

    def row(self, buffer: str) -> int:
        """Return the bytes of a buffer's row."""
        spec = self.tables.buffers[buffer]
        return spec.width * (8 if spec.wide and not self.float32 else 4)

    def codes(self, buffer: str) -> int:
        """Return the bytes of a buffer's row as the input of a product."""
        width = self.tables.buffers[buffer].width
        return 4 * width if self.float32 else width + width // 32 * 4

    @property
    def kept(self) -> int:
        """Bytes of each number that a convolution keeps."""
        return 4 if self.float32 else 2

    def product(self, weight: str, counts: RowCounts, rows: int, source: str, target: int) -> WorkSize:
        """Return the work of a product with `target` bytes per output."""
        outputs, inputs = self.tables.tensors[weight].shape
        moved = rows * (self.codes(source) + target * outputs)
        return WorkSize(rows * outputs * inputs, counts.steps * self.weight(weight) + moved)


def tensor_roles(names: Iterable[str]) -> str:
    """Return tensor names without layer numbers: ffn_up for blk.3.ffn_up.weight."""
    return " + ".join(re.sub(r"^blk\.\d+\.|\.weight$", "", name) for name in names)
