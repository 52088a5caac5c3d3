"""Derive the structure of a program that `intact.quantizing.quantizers.transforms` works on."""

from __future__ import annotations

from typing import NamedTuple

from intact.models import Program
from intact.quantizing.quantizers.transforms.structure import (
    FeedForward,
    ModelStructure,
    Projection,
    StreamNorm,
    ValuePath,
)


def find_structure(program: Program) -> ModelStructure:
    """Return the structure of a decoder."""
    found = _Structure(program)
    for at, op in enumerate(program.ops):
        op.structure(at, found)
    return found.model()


class _Product(NamedTuple):
    """A product with a matrix: operation `at`, or a head, which has no layer."""

    at: int
    source: str
    target: str | None
    projection: Projection
    accumulate: bool = False


class _Norm(NamedTuple):
    at: int
    source: str
    target: str
    gain: str
    offset: float


class _Gate(NamedTuple):
    at: int
    gate: str
    up: str | None
    target: str


class _Attention(NamedTuple):
    at: int
    value: str
    target: str
    heads: int
    kv_heads: int
    width: int


class _Structure:
    """Collects facts about operations (`intact.models.aspects.structure`) and derives the structure from them."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._embeddings: list[tuple[str, str]] = []
        self._sums: list[tuple[str, str, str]] = []
        self._products: list[_Product] = []
        self._norms: list[_Norm] = []
        self._gates: list[_Gate] = []
        self._attentions: list[_Attention] = []

    def add_embedding(self, stream: str, weight: str) -> None:
        self._embeddings.append((stream, weight))

    def add_norm(self, at: int, source: str, target: str, gain: str, offset: float) -> None:
        self._norms.append(_Norm(at, source, target, gain, offset=offset))

    def add_sum(self, source: str, target: str, gain: str) -> None:
        self._sums.append((source, target, gain))

    def add_product(
        self, at: int, source: str, target: str, weight: str, *, bias: str | None, accumulate: bool
    ) -> None:
        self._products.append(_Product(at, source, target, Projection(weight, bias), accumulate=accumulate))

    def add_head(self, at: int, source: str, weight: str) -> None:
        self._products.append(_Product(at, source, None, Projection(weight, None)))

    def add_feed_forward(self, at: int, gate: str, up: str | None, target: str) -> None:
        self._gates.append(_Gate(at, gate, up, target))

    def add_attention(self, at: int, value: str, target: str, heads: int, kv_heads: int, width: int) -> None:
        self._attentions.append(_Attention(at, value, target, heads, kv_heads=kv_heads, width=width))

    def model(self) -> ModelStructure:
        """Return the structure, once all operations have stated their facts."""
        program, (stream, embedding) = self._program, self._embeddings[0]
        products = [product for product in self._products if product.target is not None]
        rows = {stream, *(source for source, target, _ in self._sums if target == stream)}
        return ModelStructure(
            program.architecture,
            program.buffers[stream].width,
            embedding,
            program.head_weight,
            norms=tuple(self._stream_norm(norm) for norm in self._norms if norm.source == stream),
            writers=tuple(product.projection for product in products if product.target in rows),
            result_gains=tuple(gain for _, _, gain in self._sums),
            feed_forwards=tuple(net for gate in self._gates if (net := self._feed_forward(gate))),
            values=tuple(path for attention in self._attentions if (path := self._value_path(attention))),
            products=tuple(product.projection.weight for product in products),
            readers=tuple(product.projection.weight for product in products if product.source == stream),
        )

    def _stream_norm(self, norm: _Norm) -> StreamNorm:
        names, first = self._readers(norm.at, norm.target)
        return StreamNorm(norm.gain, norm.offset, tuple(names), first)

    def _feed_forward(self, net: _Gate) -> FeedForward | None:
        gate = self._writer(net.at, net.gate)
        up = None if net.up is None else self._writer(net.at, net.up)
        down, first = self._readers(net.at, net.target)
        if gate is None or up is None or net.up == net.gate or first is None:
            return None
        return FeedForward(gate, up, tuple(down), first)

    def _value_path(self, attention: _Attention) -> ValuePath | None:
        value = self._writer(attention.at, attention.value)
        output, first = self._readers(attention.at, attention.target)
        if value is None or first is None:
            return None
        return ValuePath(
            value, tuple(output), first, attention.heads, kv_heads=attention.kv_heads, width=attention.width
        )

    def _readers(self, at: int, buffer: str) -> tuple[list[str], int | None]:
        """Return the matrices that read a buffer after an operation, and the index of the first product among them."""
        ops = self._program.ops
        end = next((i for i in range(at + 1, len(ops)) if buffer in ops[i].writes()), len(ops))
        found = [product for product in self._products if at < product.at <= end and product.source == buffer]
        first = next((product.at for product in found if product.target is not None), None)
        return [product.projection.weight for product in found], first

    def _writer(self, at: int, buffer: str) -> Projection | None:
        """Return the matrix that last wrote a buffer before an operation, or None if something else wrote it last."""
        last = next((i for i in reversed(range(at)) if buffer in self._program.ops[i].writes()), None)
        for product in self._products:
            if product.at == last and product.target == buffer:
                return None if product.accumulate else product.projection
        return None
