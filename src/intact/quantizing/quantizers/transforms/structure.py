"""The structure of a decoder as transforms see it: writers and readers of the residual stream, and paths between them.

All tensors are identified by canonical name; `intact.quantizing.transforming` derives the structure from a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Projection(NamedTuple):
    """A matrix, and the bias added to its results."""

    weight: str
    bias: str | None = None


class StreamNorm(NamedTuple):
    """A norm of the residual stream, and the matrices that read it."""

    gain: str
    offset: float
    """Value added to the stored gain."""
    matrices: tuple[str, ...]
    op: int | None
    """The operation that reads its result; None before the head."""


class FeedForward(NamedTuple):
    """A gated feed-forward net: hidden = activation(gate) * up."""

    gate: Projection
    up: Projection
    down: tuple[str, ...]
    op: int
    """The operation that reads the hidden channels."""


class ValuePath(NamedTuple):
    """The path from the values of an attention to the matrices that read its results."""

    value: Projection
    output: tuple[str, ...]
    op: int
    """The operation that reads the results."""
    heads: int
    kv_heads: int
    width: int
    """Width of a head."""


@dataclass(frozen=True)
class ModelStructure:
    """The structure of a decoder.

    Attributes
    ----------
    width : int
        Channels of the residual stream.
    embedding, head : str
        The same name if they are tied.
    norms : tuple of StreamNorm
        In the order of the operations; the last is the head's.
    writers : tuple of Projection
        Matrices whose results are added to the stream, directly or after a norm.
    result_gains : tuple of str
        Gains of norms between those results and the stream.
    products : tuple of str
        The matrices of all products except the head's.
    readers : tuple of str
        Matrices that read the stream directly, with no norm before them.
    """

    architecture: str
    width: int
    embedding: str
    head: str
    norms: tuple[StreamNorm, ...]
    writers: tuple[Projection, ...]
    result_gains: tuple[str, ...]
    feed_forwards: tuple[FeedForward, ...]
    values: tuple[ValuePath, ...]
    products: tuple[str, ...]
    readers: tuple[str, ...] = ()
