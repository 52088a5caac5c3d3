"""Split a program for tensor parallelism: what each rank computes, and where ranks exchange columns (docs/cluster.md).

Every matrix is split along its outputs, and attention along heads, so no sum in the definition is split. Operations
that need whole rows (norms, quantising a product's input) gather them first. The results are therefore the same
integers as in a single process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.models.aspects.cutting import HeadParts, Part, Parts
from intact.models.aspects.op import Op
from intact.models.aspects.tables import Buffer
from intact.models.ops import (
    AllGather,
    Attend,
)
from intact.models.program import Program
from intact.numerics.integers import INTEGER, slice_rows

PANEL = 16
"""Number of outputs that kernels compute at a time; splits fall between panels if there are enough of them."""


def divide(total: int, shares: Sequence[int], unit: int = 1) -> Parts:
    """Divide `total` columns between ranks in proportion to their shares, at multiples of `unit`; no part is empty.

    Raises
    ------
    ParameterError
        If there are fewer columns than ranks.
    """
    count, whole = len(shares), sum(shares)
    if total < count:
        raise ParameterError(f"{total} outputs cannot be divided into {count} parts: use fewer processes")
    unit = unit if total // unit >= count else 1
    units, ends = total // unit, [0]
    for i, sum_ in enumerate(accumulate(shares), 1):
        ideal = (2 * units * sum_ + whole) // (2 * whole)
        ends.append(min(max(ideal, ends[-1] + 1), units - (count - i)))
    bounds = [unit * end for end in ends[:-1]] + [total]
    return tuple(Part(a, b) for a, b in pairwise(bounds))


def divide_heads(heads: int, kv_heads: int, shares: Sequence[int]) -> HeadParts:
    """Divide attention between ranks: groups of heads with their KV head, or parts of groups for more ranks.

    Raises
    ------
    ParameterError
        If a rank would not have any heads.
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
                f"{heads} heads in {kv_heads} groups cannot be divided between {ranks} processes; use at most {most}"
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
        The whole program.
    shares : sequence of int
        Share of the work of each rank, at least 1.
    rank : int
        Number of the rank; rank 0 embeds tokens. Tensors are views of the program's if its file is mapped.

    Raises
    ------
    ParameterError
        If the program has operations that cannot be split, or a rank would have nothing to do.
    """
    return _Cutter(program, tuple(shares), rank).run()


class _Cutter:
    """Walks through a program once, tracking buffers that hold a rank's columns (`intact.models.aspects.cutting`)."""

    def __init__(self, program: Program, shares: tuple[int, ...], rank: int) -> None:
        attentions = [op for op in program.ops if isinstance(op, Attend)]
        if program.is_encoder:
            raise ParameterError(f"an encoder ({program.architecture}) cannot be divided: load it in one process")
        if not attentions:
            raise ParameterError(
                f"a program without attention ({program.architecture}) cannot be divided: load it in one process"
            )
        first = attentions[0]
        if any((op.heads, op.kv_heads) != (first.heads, first.kv_heads) for op in attentions):
            raise ParameterError("tensor parallelism needs the same number of heads in all layers")
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
            op.cut(self)
        vocabulary = self.head(self.program.head_weight).width
        return replace(
            self.program,
            buffers=self.buffers,
            ops=tuple(self.ops),
            tensors=self.tensors,
            kv_heads=self.heads.kv_heads[self.rank].width,
            vocabulary=vocabulary,
        )

    @property
    def tables(self) -> Program:
        """The whole program."""
        return self.program

    @property
    def ranks(self) -> int:
        """Number of processes."""
        return len(self.shares)

    def append(self, op: Op) -> None:
        self.ops.append(op)

    def attended(self, buffer: str) -> Parts:
        return self.roles[buffer]

    def outputs(self, buffer: str) -> Parts:
        width = self.program.buffers[buffer].width
        return self.roles[buffer] if buffer in self.roles else divide(width, self.shares, PANEL)

    def head(self, weight: str) -> Part:
        return divide(self.program.tensors[weight].shape[0], self.shares, PANEL)[self.rank]

    def written(self, buffer: str, parts: Parts | None = None) -> str:
        spec = self.program.buffers[buffer]
        self.gathered.discard(buffer)
        if parts is None:
            self.split.pop(buffer, None)
        else:
            self.split[buffer] = parts
            spec = replace(spec, width=parts[self.rank].width)
        if self.buffers.setdefault(buffer, spec) != spec:
            raise ParameterError(
                f"tensor parallelism cannot split {buffer}, which {self.program.architecture} uses in two ways"
            )
        return buffer

    def added(self, name: str, buffer: str, width: int) -> str:
        self.buffers[name] = replace(self.program.buffers[buffer], width=width)
        return name

    def whole(self, buffer: str) -> str:
        parts = self.split.get(buffer)
        if parts is None:
            return buffer
        name = buffer + ".whole"
        if buffer not in self.gathered:
            self.gathered.add(buffer)
            self.added(name, buffer, self.program.buffers[buffer].width)
            self.append(AllGather(buffer, name, tuple(part.width for part in parts)))
        return name

    def tensor(self, name: str, part: Part | None = None) -> str:
        tensor = self.program.tensors[name]
        if part is None:
            self.tensors[name] = tensor
            return name
        own = f"{name}[{part.start}:{part.stop}]"
        if own not in self.tensors:
            self.tensors[own] = cut_tensor(tensor, part)
        return own


def cut_tensor(tensor: Tensor, part: Part) -> Tensor:
    """Return some outputs of a matrix, or elements of a vector, as a tensor, without copying its bytes if possible."""
    shape = (part.width, *tensor.shape[1:])
    if tensor.kind == INTEGER:
        return Tensor(tensor.name, tensor.kind, shape, slice_rows(tensor.data, part.start, part.stop))
    size = tensor.data.nbytes // tensor.shape[0]
    return Tensor(tensor.name, tensor.kind, shape, tensor.data[part.start * size : part.stop * size])
