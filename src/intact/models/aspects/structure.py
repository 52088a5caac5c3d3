"""The interface by which operations describe the structure of a decoder to transforms of weights."""

from __future__ import annotations

from typing import Protocol


class Structure(Protocol):
    """A structure that is being found, operation by operation (`intact.quantizing.structure`)."""

    def add_embedding(self, stream: str, weight: str) -> None:
        """Note the residual stream, and the matrix that begins it."""

    def add_norm(self, at: int, source: str, target: str, gain: str, offset: float) -> None:
        """Note a norm whose result is set."""

    def add_sum(self, source: str, target: str, gain: str) -> None:
        """Note a norm whose result is added."""

    def add_product(
        self, at: int, source: str, target: str, weight: str, *, bias: str | None, accumulate: bool
    ) -> None:
        """Note a product with a matrix, set or added to its target."""

    def add_head(self, at: int, source: str, weight: str) -> None:
        """Note the head's matrix."""

    def add_feed_forward(self, at: int, gate: str, up: str | None, target: str) -> None:
        """Note the gate of a feed-forward net."""

    def add_attention(self, at: int, value: str, target: str, heads: int, kv_heads: int, width: int) -> None:
        """Note an attention."""
