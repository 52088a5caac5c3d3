"""A model as a short list of typed operations on named row buffers; all executors run the same program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact._base.moved import moved_attribute
from intact.checkpoints.formats import Tensor
from intact.models.aspects.op import Convolution, Op, Recurrent
from intact.models.aspects.tables import Buffer
from intact.models.ops import Attend, Embed, Logits, Rope


@dataclass(frozen=True)
class Program:
    """Operations, the buffers and tensors that they refer to, and the shape of the KV cache.

    Attributes
    ----------
    layers : int
        Number of attention operations, each with its part of the cache.
    rotations : arrays of uint64
        For each kind of rotary layer, the frequencies as 64-bit fractions of a turn (`intact.numerics.rope.turns`).
    context : int
        Maximum number of positions for which the model was made.
    rotation_factors : tuple of Fraction
        For each rotation, the factor of its sines and cosines, below 7/4 (YaRN, longrope); empty: all are 1.
    adapters : tuple of str
        Names of the adapters, by number (`intact.models.adapters`).
    """

    architecture: str
    buffers: Mapping[str, Buffer]
    ops: tuple[Op, ...]
    tensors: Mapping[str, Tensor]
    rotations: tuple[NDArray[np.uint64], ...]
    layers: int
    kv_heads: int
    head_width: int
    vocabulary: int
    context: int
    rotation_factors: tuple[Fraction, ...] = ()
    adapters: tuple[str, ...] = ()

    @property
    def is_encoder(self) -> bool:
        """True if rows also attend to later positions: sequences are processed as a whole, and nothing is generated."""
        return any(isinstance(op, Attend) and not op.causal for op in self.ops)

    @property
    def most_tokens(self) -> int | None:
        """Length of the longest sequence for which the embedding has positions; None if it adds no positions."""
        found = [op.most_tokens(self) for op in self.ops if isinstance(op, Embed)]
        return min((most for most in found if most is not None), default=None)

    @property
    def head_weight(self) -> str:
        """Name of the head matrix.

        Raises
        ------
        ParameterError
            If the program has no head, i.e. it is an encoder.
        """
        head = next(op for op in self.ops if isinstance(op, Logits))
        if head.weight is None:
            raise ParameterError(f"a model of the architecture {self.architecture} is an encoder, which has no logits")
        return head.weight

    def convolutions(self) -> list[Convolution]:
        """Return the convolutions, in the order of their parts of the cache."""
        return [op for op in self.ops if isinstance(op, Convolution)]

    def recurrent(self) -> list[Recurrent]:
        """Return the recurrent layers, in the order of their parts of the cache."""
        return [op for op in self.ops if isinstance(op, Recurrent)]

    def ropes(self) -> dict[str, Rope]:
        """Return the rotary operations by the buffers that they rotate."""
        return {op.buffer: op for op in self.ops if isinstance(op, Rope)}

    def factors(self) -> tuple[Fraction, ...]:
        """Return the factor of each rotation."""
        return self.rotation_factors or (Fraction(1),) * len(self.rotations)


def __getattr__(name: str) -> Any:
    """Forward the names of operations, which used to be defined in this module."""
    return moved_attribute(__name__, name, ("intact.models.ops", "intact.models.aspects.op"))
