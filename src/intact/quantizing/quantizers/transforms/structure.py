"""The structure of a decoder as transforms see it: who writes the residual stream, who reads it, what lies between.

All tensors go by their canonical names; `intact.quantizing.transforming` reads the structure off a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Projection(NamedTuple):
    """A matrix, and the bias that is added to its results."""

    weight: str
    bias: str | None = None


class StreamNorm(NamedTuple):
    """A norm of the residual stream, and the matrices that read it."""

    gain: str
    offset: float
    """Added to the stored gain."""
    matrices: tuple[str, ...]
    op: int | None
    """The operation whose input it is; None before the head."""


class FeedForward(NamedTuple):
    """A gated feed-forward net: hidden = activation(gate) * up."""

    gate: Projection
    up: Projection
    down: tuple[str, ...]
    op: int
    """The operation whose input the hidden channels are."""


class ValuePath(NamedTuple):
    """From the values of an attention to what reads its results."""

    value: Projection
    output: tuple[str, ...]
    op: int
    """The operation whose input the results are."""
    heads: int
    kv_heads: int
    width: int
    """Of a head."""


@dataclass(frozen=True)
class ModelStructure:
    """A decoder.

    Attributes
    ----------
    width : int
        Channels of the residual stream.
    embedding, head : str
        The same name where they are tied.
    norms : tuple of StreamNorm
        In the order of the operations; the last is the head's.
    writers : tuple of Projection
        Whose results are added to the stream, at once or after a norm.
    result_gains : tuple of str
        Gains of norms between those results and the stream.
    products : tuple of str
        The matrices of all products other than the head's.
    readers : tuple of str
        Matrices that read the stream itself, with no norm before them.
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
