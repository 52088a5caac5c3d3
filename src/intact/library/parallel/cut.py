"""Cuts of a program: what each rank of several computes, and where they exchange columns (docs/cluster.md).

Every matrix is cut by outputs, attention by heads, so that no sum of the definition is cut; whatever needs whole rows
(norms, the codes of a product's input) has them gathered first. The integers are those of one process therefore.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.models.program import (
    AllGather,
    Attend,
    Buffer,
    Embed,
    Gate,
    Gather,
    Hadamard,
    Linear,
    Logits,
    Multiply,
    Norm,
    Op,
    Program,
    Rope,
    Target,
)
from intact.numerics.integers import INTEGER, slice_rows

PANEL = 16
"""Outputs that kernels compute at a time: cuts lie between panels where there are enough of them."""


class Part(NamedTuple):
    """The columns of a rank, from `start` to `stop` - 1."""

    start: int
    stop: int

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.stop - self.start

    def times(self, size: int) -> Part:
        """Return the columns of heads of a size."""
        return Part(self.start * size, self.stop * size)


Parts: TypeAlias = tuple[Part, ...]
"""Of one buffer, by rank."""


def divide(total: int, shares: Sequence[int], unit: int = 1) -> Parts:
    """Cut `total` columns between ranks, in proportion to their shares: at multiples of `unit`, none empty.

    Raises
    ------
    ParameterError
        If there are fewer columns than ranks.
    """
    count, whole = len(shares), sum(shares)
    if total < count:
        raise ParameterError(f"{total} outputs cannot be cut into {count} parts: take fewer processes")
    unit = unit if total // unit >= count else 1
    units, ends = total // unit, [0]
    for i, sum_ in enumerate(accumulate(shares), 1):
        ideal = (2 * units * sum_ + whole) // (2 * whole)
        ends.append(min(max(ideal, ends[-1] + 1), units - (count - i)))
    bounds = [unit * end for end in ends[:-1]] + [total]
    return tuple(Part(a, b) for a, b in pairwise(bounds))


class HeadParts(NamedTuple):
    """The heads of each rank; ranks that share a KV head each have a copy of it."""

    heads: Parts
    kv_heads: Parts


def divide_heads(heads: int, kv_heads: int, shares: Sequence[int]) -> HeadParts:
    """Cut attention between ranks: whole groups of heads with their KV head, or parts of groups where ranks are more.

    Raises
    ------
    ParameterError
        If a rank would have no head.
    """
    group, ranks = heads // kv_heads, len(shares)
    if ranks <= kv_heads:
        own = divide(kv_heads, shares)
        return HeadParts(tuple(part.times(group) for part in own), own)
    most = kv_heads * group
    queries: list[Part] = []
    keys: list[Part] = []
    for kv, members in enumerate(divide(ranks, [1] * kv_heads)):
        if members.width > group:
            raise ParameterError(
                f"{heads} heads of {kv_heads} groups cannot be cut for {ranks} processes: {most} at most"
            )
        for part in divide(group, shares[members.start : members.stop]):
            queries.append(Part(kv * group + part.start, kv * group + part.stop))
            keys.append(Part(kv, kv + 1))
    return HeadParts(tuple(queries), tuple(keys))


def cut_program(program: Program, shares: Sequence[int], rank: int) -> Program:
    """Return the program of one rank.

    Parameters
    ----------
    program : Program
        The whole one.
    shares : sequence of int
        For each rank its share of the work, from 1 on.
    rank : int
        Which one; rank 0 embeds tokens. Tensors are views of the program's where its file is mapped.

    Raises
    ------
    ParameterError
        If it has operations that cannot be cut, or a rank would have nothing to do.
    """
    return _Cutter(program, tuple(shares), rank).run()


class _Cutter:
    """Goes through a program once, and knows which buffers hold the columns of one rank alone."""

    def __init__(self, program: Program, shares: tuple[int, ...], rank: int) -> None:
        attentions = [op for op in program.ops if isinstance(op, Attend)]
        if program.is_encoder:
            raise ParameterError(f"an encoder ({program.architecture}) cannot be cut: load it in one process")
        if not attentions:
            raise ParameterError(f"a program without attention ({program.architecture}) cannot be cut")
        first = attentions[0]
        if any((op.heads, op.kv_heads) != (first.heads, first.kv_heads) for op in attentions):
            raise ParameterError("tensor parallel needs the same number of heads in all layers")
        self.program, self.shares, self.rank = program, shares, rank
        heads = divide_heads(first.heads, first.kv_heads, shares)
        queries = tuple(part.times(first.width) for part in heads.heads)
        keys = tuple(part.times(first.width) for part in heads.kv_heads)
        self.heads = heads
        self.roles = {op.query: queries for op in attentions} | {op.target: queries for op in attentions}
        self.roles |= {name: keys for op in attentions for name in (op.key, op.value)}
        self.split: dict[str, Parts] = {}
        self.gathered: set[str] = set()
        self.buffers: dict[str, Buffer] = {}
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []

    def run(self) -> Program:
        for op in self.program.ops:
            self._cut(op)
        vocabulary = self._outputs(self.program.head_weight).width
        return replace(
            self.program,
            buffers=self.buffers,
            ops=tuple(self.ops),
            tensors=self.tensors,
            kv_heads=self.heads.kv_heads[self.rank].width,
            vocabulary=vocabulary,
        )

    def _cut(self, op: Op) -> None:
        match op:
            case Embed():
                self._embed(op)
            case Norm():
                self._norm(op)
            case Gather():
                self._tensor(op.weight)
                self.ops.append(replace(op, source=self._whole(op.source), target=self._written(op.target)))
            case Hadamard():
                self.ops.append(replace(op, source=self._whole(op.source), target=self._written(op.target)))
            case Multiply():
                if op.weight is not None:
                    self._tensor(op.weight)
                self.ops.append(replace(op, source=self._whole(op.source), target=self._written(op.target)))
            case Linear():
                self._linear(op)
            case Rope():
                self.ops.append(replace(op, heads=self._own(op.buffer).width // op.width))
            case Attend():
                heads, kv_heads = self.heads.heads[self.rank], self.heads.kv_heads[self.rank]
                self._written(op.target, self.roles[op.target])
                sinks = None if op.sinks is None else self._tensor(op.sinks, heads)
                self.ops.append(replace(op, heads=heads.width, kv_heads=kv_heads.width, sinks=sinks))
            case Gate():
                self._written(op.target, self.split[op.gate])
                self.ops.append(op)
            case Logits():
                head = self.program.head_weight
                weight = self._tensor(head, self._outputs(head))
                self.ops.append(replace(op, source=self._whole(op.source), weight=weight))
            case _:
                raise ParameterError(f"tensor parallel runs no {_NAMES[type(op).__name__]}: load in one process")

    def _embed(self, op: Embed) -> None:
        """Let rank 0 embed, which alone holds the embedding, and send the rows."""
        width = self.program.buffers[op.target].width
        own = op.target + ".embedded"
        if self.rank == 0:
            self.buffers[own] = self.program.buffers[op.target]
            self.ops.append(replace(op, target=own, weight=self._tensor(op.weight)))
        self._written(op.target)
        widths = (width, *(0 for _ in self.shares[1:]))
        self.ops.append(AllGather(own if self.rank == 0 else None, op.target, widths))

    def _norm(self, op: Norm) -> None:
        gain, bias = self._tensor(op.gain), None if op.bias is None else self._tensor(op.bias)
        parts = self.split.get(op.source)
        if parts is not None and op.heads:
            size = self.program.buffers[op.source].width // op.heads
            if any(part.start % size or part.stop % size for part in parts):
                raise ParameterError(
                    f"tensor parallel cannot cut norms over whole rows of {op.source} ({self.program.architecture}): "
                    "load in one process"
                )
            self._written(op.target, parts)
            self.ops.append(replace(op, heads=parts[self.rank].width // size))
            return
        source = self._whole(op.source)
        target = op.target if op.accumulate else self._written(op.target)
        self.ops.append(replace(op, source=source, target=target, gain=gain, bias=bias))

    def _linear(self, op: Linear) -> None:
        """Append this rank's outputs; where they are added to a row that all have, the exchange adds them."""
        source = self._whole(op.source)
        targets, sums = [], []
        for target in op.targets:
            parts = self._parts_of(target.buffer)
            part = parts[self.rank]
            weight = self._tensor(target.weight, part)
            bias = None if target.bias is None else self._tensor(target.bias, part)
            buffer = target.buffer
            if target.accumulate:
                buffer += ".own"
                self.buffers[buffer] = replace(self.program.buffers[target.buffer], width=part.width)
                sums.append(AllGather(buffer, target.buffer, tuple(p.width for p in parts), accumulate=True))
            else:
                self._written(buffer, parts)
            targets.append(Target(buffer, weight, bias))
        largest = None if op.largest is None else self._tensor(op.largest)
        self.ops.append(Linear(source, tuple(targets), largest))
        self.ops += sums

    def _parts_of(self, buffer: str) -> Parts:
        """Return how the outputs of a product are cut, by the buffer that they go to."""
        width = self.program.buffers[buffer].width
        return self.roles[buffer] if buffer in self.roles else divide(width, self.shares, PANEL)

    def _outputs(self, weight: str) -> Part:
        return divide(self.program.tensors[weight].shape[0], self.shares, PANEL)[self.rank]

    def _own(self, buffer: str) -> Part:
        return self.split[buffer][self.rank]

    def _written(self, buffer: str, parts: Parts | None = None) -> str:
        """Note that an operation sets a buffer: to whole rows, or to this rank's columns; return its name."""
        spec = self.program.buffers[buffer]
        self.gathered.discard(buffer)
        if parts is None:
            self.split.pop(buffer, None)
        else:
            self.split[buffer] = parts
            spec = replace(spec, width=parts[self.rank].width)
        if self.buffers.setdefault(buffer, spec) != spec:
            raise ParameterError(
                f"tensor parallel cannot cut {buffer}, which {self.program.architecture} uses in two ways"
            )
        return buffer

    def _whole(self, buffer: str) -> str:
        """Return a buffer that holds whole rows of one, after an exchange where there is none yet."""
        parts = self.split.get(buffer)
        if parts is None:
            return buffer
        whole = buffer + ".whole"
        if buffer not in self.gathered:
            self.gathered.add(buffer)
            self.buffers[whole] = self.program.buffers[buffer]
            self.ops.append(AllGather(buffer, whole, tuple(part.width for part in parts)))
        return whole

    def _tensor(self, name: str, part: Part | None = None) -> str:
        """Add a tensor, or its outputs that a part names; return the name that the program has for it."""
        tensor = self.program.tensors[name]
        if part is None:
            self.tensors[name] = tensor
            return name
        own = f"{name}[{part.start}:{part.stop}]"
        if own not in self.tensors:
            self.tensors[own] = cut_tensor(tensor, part)
        return own


_NAMES = {
    "Adapt": "adapters",
    "Steer": "adapters",
    "Convolve": "convolutions (recurrent layers)",
    "ConvolveSilu": "convolutions (recurrent layers)",
    "Scan": "state-space layers",
    "SelectiveScan": "state-space layers",
    "TrapezoidalScan": "state-space layers",
    "GatedDelta": "gated delta nets",
    "GatedRecurrence": "gated recurrences",
    "Experts": "mixtures of experts",
    "Scatter": "latent attention",
}
"""Operations that are not cut, as messages call them."""


def cut_tensor(tensor: Tensor, part: Part) -> Tensor:
    """Return some outputs of a matrix, or elements of a vector, as a tensor: a view of its bytes where that is one."""
    shape = (part.width, *tensor.shape[1:])
    if tensor.kind == INTEGER:
        return Tensor(tensor.name, tensor.kind, shape, slice_rows(tensor.data, part.start, part.stop))
    size = tensor.data.nbytes // tensor.shape[0]
    return Tensor(tensor.name, tensor.kind, shape, tensor.data[part.start * size : part.stop * size])
