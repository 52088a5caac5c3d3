"""The tables of a program, which its operations refer to by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from intact.checkpoints.formats import Tensor


@dataclass(frozen=True)
class Buffer:
    """A row vector between operations: int64 in Q20 if `wide` (the residual stream), else int32 in Q16."""

    width: int
    wide: bool = False

    @property
    def fraction(self) -> int:
        """Fraction bits that most operations use when writing it."""
        return 20 if self.wide else 16


class Tables(Protocol):
    """The part of a Program that operations need: buffers and tensors by name, and the shape of the KV cache."""

    @property
    def architecture(self) -> str:
        """Name of the architecture, for error messages."""

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        """Buffers by name."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Tensors by name."""

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads of an attention layer."""

    @property
    def head_width(self) -> int:
        """Width of a key."""
