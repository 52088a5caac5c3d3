"""A profile of steps: time and amount of work per operation, and the limits of the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact.models.aspects.op import Cached
from intact.models.aspects.step import SequenceChunk
from intact.models.aspects.work import ROWS, WAIT, Label, RowCounts, Sizes, WorkSize, tensor_roles
from intact.models.ops import Attend, Norm
from intact.models.program import Program
from intact.numerics.kv_codecs.definition import KvCodec, plain_bytes


class Record(NamedTuple):
    """One kind of operation, over all layers and steps.

    Attributes
    ----------
    kind : str
        embed, norm, gather, scatter, hadamard, quantise (or both in one: "norm, quantise"), linear, rope, append,
        attention, convolve, scan, delta rule, gate, all-gather, logits or rest.
    label : str
        Object of the operation: the matrices of a linear operation, or the rows that are quantised.
    calls : int
        Number of calls.
    seconds : float
        Time spent by the first thread, including time waiting for other threads.
    waiting : float
        Part of `seconds` during which the first thread waited for other threads.
    macs : int
        Multiply-adds of its products over all threads; 0 without products.
    bytes : int
        Minimum memory traffic: weights once per step, the cache once per chunk, and the rows that it reads and writes.
    """

    kind: str
    label: str
    calls: int
    seconds: float
    macs: int
    bytes: int
    waiting: float


class MachineLimits(NamedTuple):
    """The machine's measured limits: 8-bit products per second for one thread, bytes read per second by all threads."""

    macs: float
    bytes: float

    def fraction(self, record: Record, threads: int) -> float:
        """Return the time a record's products or bytes would take at these limits, divided by the measured time."""
        least = max(record.macs / (self.macs * threads), record.bytes / self.bytes)
        return least / record.seconds if record.seconds else 0.0


def measure_limits(tier: str, threads: int) -> MachineLimits:
    """Measure the limits by briefly running a tier's multipliers and reads on all threads (a tenth of a second)."""
    return MachineLimits(*_native.kernels.limits(tier, threads))


class StepWork:
    """Counts the work of steps by operation.

    Parameters
    ----------
    float32 : bool
        If true, rows, keys and values are float32 (profile fp32), otherwise integers.
    weight_size : function
        Maps a matrix's name to its size in memory in bytes.
    fused : mapping
        Operations that compute the norm of their rows themselves, mapped to the index of that norm.
    codec : KvCodec, optional
        Codec of the keys and values in pages.
    """

    def __init__(
        self,
        program: Program,
        float32: bool,
        weight_size: Callable[[str], int],
        fused: Mapping[int, int],
        codec: KvCodec | None = None,
    ) -> None:
        self.program = program
        plain = 8 * program.head_width if float32 else plain_bytes(program.head_width)
        position = plain if codec is None else codec.position_bytes(program.head_width)
        self._sizes = Sizes(program, float32, weight_size, position)
        self._norms = [self._norm(fused[i]) if i in fused else None for i in range(len(program.ops))]
        norms = set(fused.values())
        self._parts = [{} if i in norms else self._labels(i) for i in range(len(program.ops))]
        self.steps = self.rows = self.narrowed = self.wanted = 0
        self._last, last = [(i, op) for i, op in enumerate(program.ops) if isinstance(op, Cached)][-1]
        self._window = last.window if isinstance(last, Attend) else 0
        self._seen = {op.window: [0, 0] for op in program.ops if isinstance(op, Attend)}
        self._seen_last = 0

    def add(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64], narrows: bool) -> None:
        """Count a step; if it narrows, only wanted rows take part in the last attention and later operations."""
        last = np.concatenate([np.arange(len(chunk.tokens)) + chunk.position + 1 for chunk in chunks])
        if self.program.is_encoder:  # a row sees all of its text
            last = np.concatenate([np.full(len(chunk.tokens), len(chunk.tokens)) for chunk in chunks])
        going = last[wanted] if narrows else last
        self.steps += 1
        self.rows += len(last)
        self.narrowed += len(going)
        self.wanted += len(wanted)
        for window, seen in self._seen.items():
            seen[0] += _pairs(last, window)
            for chunk in chunks:
                end, count = chunk.position + len(chunk.tokens), len(chunk.tokens)
                seen[1] += min(end, window + count - 1) if window else end
        self._seen_last += _pairs(going, self._window)

    def cost(self, i: int, part: int) -> WorkSize:
        """Return the work of one part of operation i over all steps so far."""
        op, norm = self.program.ops[i], self._norms[i]
        counts = RowCounts(
            self.steps,
            self.narrowed if i > self._last else self.rows,
            self.wanted,
            source=None if norm is None else norm.source,
        )
        if isinstance(op, Attend):
            pairs, positions = self._seen[op.window]
            last = i == self._last
            counts = counts._replace(
                attending=self.narrowed if last else self.rows,
                pairs=self._seen_last if last else pairs,
                positions=positions,
            )
        return op.work(part, self._sizes, counts)

    def by_operation(self) -> list[WorkSize]:
        """Return the work of each operation of the program over all steps so far, summed over its parts."""
        found = []
        for i, parts in enumerate(self._parts):
            sizes = [self.cost(i, part) for part in parts]
            found.append(WorkSize(sum(size.macs for size in sizes), sum(size.bytes for size in sizes)))
        return found

    def _norm(self, i: int) -> Norm:
        """Return operation i, which must be a norm."""
        norm = self.program.ops[i]
        assert isinstance(norm, Norm)
        return norm

    def _labels(self, i: int) -> dict[int, Label]:
        """Return kind and label of each timed part of an operation."""
        labels, norm = self.program.ops[i].labels(), self._norms[i]
        return labels if norm is None else labels | {ROWS: ("norm, quantise", tensor_roles([norm.gain]))}

    def records(self, times: NDArray[np.int64]) -> list[Record]:
        """Return records in the order in which a step first reaches them.

        Parameters
        ----------
        times : int64, (operations + 1, 3)
            Nanoseconds spent in each operation, by part.
        """
        found: dict[tuple[str, str], Record] = {}

        def put(name: tuple[str, str], seconds: float, cost: WorkSize, waiting: float) -> None:
            old = found.get(name, Record(*name, 0, 0.0, 0, 0, 0.0))
            found[name] = Record(
                *name,
                old.calls + self.steps,
                old.seconds + seconds,
                old.macs + cost.macs,
                old.bytes + cost.bytes,
                old.waiting + waiting,
            )

        for i, (parts, time) in enumerate(zip(self._parts, times[:-1] / 1e9, strict=True)):
            for part, name in parts.items():
                waiting = float(time[WAIT]) if part == max(parts) else 0.0
                put(name, float(time[part]) + waiting, self.cost(i, part), waiting)
        rest = times[-1] / 1e9
        put(("rest", "begin and end of steps"), float(rest.sum()), WorkSize(0, 0), float(rest[WAIT]))
        return list(found.values())


def _pairs(last: NDArray[np.int64], window: int) -> int:
    """Return the total number of visible positions over all rows, given the number of positions up to each row."""
    return int((np.minimum(last, window) if window else last).sum())
