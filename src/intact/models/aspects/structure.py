"""The interface through which operations describe a decoder's structure to weight transforms."""

from __future__ import annotations

from typing import Protocol


class Structure(Protocol):
    """A structure that is collected operation by operation (`intact.quantizing.structure`)."""

    def add_embedding(self, stream: str, weight: str) -> None:
        """Add the residual stream, and the matrix that it starts from."""

    def add_norm(self, at: int, source: str, target: str, gain: str, offset: float) -> None:
        """Add a norm that overwrites its target."""

    def add_sum(self, source: str, target: str, gain: str) -> None:
        """Add a norm whose result is added to its target."""

    def add_product(
        self, at: int, source: str, target: str, weight: str, *, bias: str | None, accumulate: bool
    ) -> None:
        """Add a product with a matrix, whose result overwrites its target or is added to it."""

    def add_head(self, at: int, source: str, weight: str) -> None:
        """Add the head matrix."""

    def add_feed_forward(self, at: int, gate: str, up: str | None, target: str) -> None:
        """Add the gate of a feed-forward network."""

    def add_attention(self, at: int, value: str, target: str, heads: int, kv_heads: int, width: int) -> None:
        """Add an attention operation."""
