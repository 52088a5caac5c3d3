"""The tables of a program that its operations refer to by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from intact.checkpoints.formats import Tensor


@dataclass(frozen=True)
class Buffer:
    """A row vector between operations: `wide` ones (the residual stream) hold int64 in Q20, others int32 in Q16."""

    width: int
    wide: bool = False

    @property
    def fraction(self) -> int:
        """Fraction bits of what most operations write to it."""
        return 20 if self.wide else 16


class Tables(Protocol):
    """Buffers and tensors by name, and the shape of the KV cache: the part of a Program that operations need."""

    @property
    def architecture(self) -> str:
        """The name of the architecture, for messages."""

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        """Buffers by name."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Tensors by name."""

    @property
    def kv_heads(self) -> int:
        """Key and value heads of an attention layer."""

    @property
    def head_width(self) -> int:
        """Numbers of a key."""
