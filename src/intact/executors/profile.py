"""A profile of steps: time by operation, the work that each was given, and what the machine allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact.executors.base import SequenceChunk
from intact.models.program import (
    Adapt,
    AllGather,
    Attend,
    Convolution,
    Convolve,
    ConvolveSilu,
    Embed,
    Experts,
    Gate,
    GatedDelta,
    GatedRecurrence,
    Gather,
    Hadamard,
    Linear,
    Logits,
    Multiply,
    Norm,
    Op,
    Program,
    Recurrent,
    Rope,
    Scan,
    Scatter,
    SelectiveScan,
    Steer,
    TrapezoidalScan,
)
from intact.numerics.kv_codecs.definition import KvCodec, plain_bytes
from intact.numerics.scan import BLOCK

ROWS, PRODUCT, WAIT = range(3)  # parts of an operation's time (native/runtime/stopwatch.h)


class Record(NamedTuple):
    """One kind of operation, over all layers and steps.

    Attributes
    ----------
    kind : str
        embed, norm, gather, scatter, hadamard, quantise (or both in one: "norm, quantise"), linear, rope, append,
        attention, convolve, scan, delta rule, gate, all-gather, logits or rest.
    label : str
        What it works on: the matrices of a linear, the rows that are quantised.
    calls : int
        How often it ran.
    seconds : float
        Of the first thread, waiting for others included.
    waiting : float
        Seconds of these that the first thread waited for others.
    macs : int
        Multiply-adds of its products, of all threads; 0 where it has none.
    bytes : int
        The least that it moves: weights once a step, the cache once a chunk, the rows that it reads and writes.
    """

    kind: str
    label: str
    calls: int
    seconds: float
    macs: int
    bytes: int
    waiting: float


class MachineLimits(NamedTuple):
    """The machine's measured limits: 8-bit products a second of one thread, bytes read a second by all threads."""

    macs: float
    bytes: float

    def fraction(self, record: Record, threads: int) -> float:
        """Return the time that a record's products or bytes would take at these limits, over its seconds."""
        least = max(record.macs / (self.macs * threads), record.bytes / self.bytes)
        return least / record.seconds if record.seconds else 0.0


def measure_limits(tier: str, threads: int) -> MachineLimits:
    """Run a tier's multipliers and all threads' reads for a moment each (a tenth of a second in all)."""
    return MachineLimits(*_native.kernels.limits(tier, threads))


class WorkSize(NamedTuple):
    """Multiply-adds and bytes."""

    macs: int
    bytes: int


class StepWork:
    """Counts the work of steps by operation.

    Parameters
    ----------
    float32 : bool
        If true, rows, keys and values are float32 (profile fp32), else integers.
    weight_size : function
        Bytes of a matrix in memory, by its name.
    fused : mapping
        Operations that compute the norm of their rows themselves, and the number of that norm.
    codec : KvCodec, optional
        Of the keys and values in pages.
    """

    def __init__(
        self,
        program: Program,
        float32: bool,
        weight_size: Callable[[str], int],
        fused: Mapping[int, int],
        codec: KvCodec | None = None,
    ) -> None:
        self.program, self._float, self._weight_size = program, float32, weight_size
        plain = 8 * program.head_width if float32 else plain_bytes(program.head_width)
        self._position = plain if codec is None else codec.position_bytes(program.head_width)  # of a key and its value
        norms = set(fused.values())
        self._norms = [program.ops[fused[i]] if i in fused else None for i in range(len(program.ops))]
        self._parts = [
            {} if i in norms else self._parts_of(op, norm)
            for i, (op, norm) in enumerate(zip(program.ops, self._norms, strict=True))
        ]
        self.steps = self.rows = self.narrowed = self.wanted = 0
        self._last, last = [
            (i, op) for i, op in enumerate(program.ops) if isinstance(op, Attend | Convolution | Recurrent)
        ][-1]
        self._window = last.window if isinstance(last, Attend) else 0
        self._seen = {op.window: [0, 0] for op in program.ops if isinstance(op, Attend)}
        self._seen_last = 0

    def add(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64], narrows: bool) -> None:
        """Count a step; where it narrows, only the wanted rows took part in the last attention and what follows."""
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

    def _size(self, buffer: str) -> int:
        spec = self.program.buffers[buffer]
        return spec.width * (8 if spec.wide and not self._float else 4)

    def _codes(self, buffer: str) -> int:
        width = self.program.buffers[buffer].width
        return 4 * width if self._float else width + width // 32 * 4

    def _product(self, weight: str, rows: int, source: str, target: int) -> WorkSize:
        outputs, inputs = self.program.tensors[weight].shape
        moved = rows * (self._codes(source) + target * outputs)
        return WorkSize(rows * outputs * inputs, self.steps * self._weight_size(weight) + moved)

    def cost(self, i: int, part: int) -> WorkSize:
        """Return the work of the steps so far in one part of operation i."""
        op, norm = self.program.ops[i], self._norms[i]
        all_rows = self.narrowed if i > self._last else self.rows
        match op:
            case Embed():
                outputs = self.program.tensors[op.weight].shape[0]
                row = self._weight_size(op.weight) // outputs
                if op.positions is not None:
                    row += self._weight_size(op.positions) // self.program.tensors[op.positions].shape[0]
                return WorkSize(0, all_rows * (row + self._size(op.target)))
            case Norm():
                return WorkSize(0, all_rows * (self._size(op.source) + self._size(op.target) * (1 + op.accumulate)))
            case Gather():
                return WorkSize(0, all_rows * 2 * self._size(op.target))
            case Scatter():
                return WorkSize(0, all_rows * 2 * 4 * op.heads * op.width)
            case Hadamard() | Multiply():
                return WorkSize(0, all_rows * (self._size(op.source) + self._size(op.target)))
            case Linear() | Logits() if part == ROWS:
                rows = all_rows if isinstance(op, Linear) else self.wanted
                source = norm.source if isinstance(norm, Norm) else op.source
                return WorkSize(0, rows * (self._size(source) + self._codes(op.source)))
            case Linear():
                source = op.source
                sizes = [self._size(t.buffer) // self.program.buffers[t.buffer].width for t in op.targets]
                costs = [
                    self._product(t.weight, all_rows, source, size * (1 + t.accumulate))
                    for t, size in zip(op.targets, sizes, strict=True)
                ]
                return WorkSize(sum(c.macs for c in costs), sum(c.bytes for c in costs))
            case Adapt():  # as if all rows had the largest adapter
                ranks = [0 if c is None else self.program.tensors[c.down].shape[0] for c in op.changes]
                widths = self.program.buffers[op.source].width + self.program.buffers[op.target].width
                moved = all_rows * (self._size(op.source) + self._size(op.target))
                return WorkSize(all_rows * max(ranks) * widths, moved)
            case Steer():
                return WorkSize(0, all_rows * 2 * self._size(op.target))
            case AllGather():
                return WorkSize(0, all_rows * 2 * self._size(op.target))
            case Rope():
                return WorkSize(0, all_rows * 2 * self._size(op.buffer))
            case Attend() if part == ROWS:
                return WorkSize(0, all_rows * (2 * self._size(op.key) + op.kv_heads * self._position))
            case Attend():
                pairs, positions = self._seen[op.window]
                rows = self.rows
                if i == self._last:
                    pairs, rows = self._seen_last, self.narrowed
                moved = positions * op.kv_heads * self._position + rows * 2 * self._size(op.query)
                return WorkSize(pairs * op.heads * op.width * 2, moved)
            case Convolve():
                kept = (4 if self._float else 2) * op.width
                moved = self._size(op.source) + self._size(op.target) + (1 + op.taps) * kept
                return WorkSize(0, all_rows * moved)
            case ConvolveSilu():
                kept = (4 if self._float else 2) * op.width
                return WorkSize(0, all_rows * (self._size(op.source) + self._size(op.target) + (1 + op.taps) * kept))
            case Scan() | GatedDelta() if part == ROWS:
                kept = (4 if self._float else 2) * op.shape.channels
                return WorkSize(0, self.rows * (self._size(op.source) + self._size(op.steps) + (2 + op.taps) * kept))
            case Scan():  # a row reads the state and half a block on average, and adds to the state behind the block
                state, half = op.shape.inner * op.states, BLOCK // 2
                macs = 2 * state + half * (op.shape.inner + op.groups * op.states)
                moved = half * (4 if self._float else 2) * op.shape.channels + self._size(op.target)
                return WorkSize(self.rows * macs, self.rows * (moved + 4 * state))
            case GatedDelta():  # likewise, and twice: under its key, then under its query
                shape, half = op.shape, BLOCK // 2
                state = shape.inner * op.states
                macs = 3 * state + 2 * half * (shape.inner + op.heads * op.states)
                moved = half * ((4 if self._float else 2) * shape.columns + 4 * shape.inner) + self._size(op.target)
                return WorkSize(self.rows * macs, self.rows * (moved + 4 * state))
            case SelectiveScan() if part == ROWS:
                kept = (8 if self._float else 4) * op.states + 8 * op.channels
                read = sum(self._size(name) for name in (op.source, op.steps, op.input, op.output))
                return WorkSize(0, self.rows * (read + kept))
            case SelectiveScan():  # at least what a row decays, adds and reads
                kept = (8 if self._float else 4) * op.states + 8 * op.channels
                state = op.channels * op.states
                return WorkSize(self.rows * 3 * state, self.rows * (kept + self._size(op.target)))
            case GatedRecurrence() if part == ROWS:
                return WorkSize(0, self.rows * (self._size(op.source) + self._size(op.forget) + 8 * op.channels))
            case GatedRecurrence():
                return WorkSize(self.rows * 2 * op.channels, self.rows * (8 * op.channels + self._size(op.target)))
            case TrapezoidalScan() if part == ROWS:
                read = sum(self._size(name) for name in (op.source, op.input, op.output, op.controls))
                return WorkSize(0, 2 * self.rows * read)
            case TrapezoidalScan():  # likewise, with what the position before adds
                kept = 4 * (op.shape.inner + 2 * op.shape.columns + op.shape.controls)
                return WorkSize(self.rows * 4 * op.shape.inner * op.states, self.rows * (kept + self._size(op.target)))
            case Gate():
                return WorkSize(0, all_rows * sum(self._size(name) for name in (op.gate, op.up, op.target) if name))
            case Experts() if part == ROWS:
                codes = self._codes(op.source) + (4 * op.hidden if self._float else op.hidden * 9)
                return WorkSize(0, all_rows * (self._size(op.source) + op.used * codes))
            case Experts():
                e = op.experts[0]
                names = {e.gate, e.up, e.down}
                macs = sum(int(np.prod(self.program.tensors[name].shape)) for name in names)
                size = sum(self._weight_size(name) for name in names)  # of one expert
                read = min(all_rows * op.used, self.steps * len(op.experts))
                return WorkSize(all_rows * op.used * macs, read * size + all_rows * op.used * self._size(op.target))
            case Logits():
                return WorkSize(0, 0) if op.weight is None else self._product(op.weight, self.wanted, op.source, 4)

    def by_operation(self) -> list[WorkSize]:
        """Return the work of the steps so far in each operation of the program, all its parts together."""
        found = []
        for i, parts in enumerate(self._parts):
            sizes = [self.cost(i, part) for part in parts]
            found.append(WorkSize(sum(size.macs for size in sizes), sum(size.bytes for size in sizes)))
        return found

    def _parts_of(self, op: Op, norm: Op | None) -> dict[int, tuple[str, str]]:
        """Return kind and label of each part of an operation that may take time."""
        prepare = ("norm, quantise", _role([norm.gain])) if isinstance(norm, Norm) else None
        match op:
            case Embed():
                return {ROWS: ("embed", _role([op.weight]))}
            case Norm():
                return {ROWS: ("norm", _role([op.gain]))}
            case Gather():
                return {ROWS: ("gather", op.source)}
            case Scatter():
                return {ROWS: ("scatter", op.target)}
            case Hadamard():
                return {ROWS: ("hadamard", op.source)}
            case Multiply():
                return {ROWS: ("multiply", op.target)}
            case Linear():
                return {
                    ROWS: prepare or ("quantise", op.source),
                    PRODUCT: ("linear", _role(target.weight for target in op.targets)),
                }
            case Adapt():
                return {ROWS: ("quantise", f"{op.source}, adapters"), PRODUCT: ("adapt", op.target)}
            case Steer():
                return {ROWS: ("steer", op.target)}
            case AllGather():
                return {ROWS: ("all-gather", op.target)}
            case Rope():
                return {ROWS: ("rope", op.buffer)}
            case Attend():
                seen = f"the last {op.window}" if op.window else "all positions"
                return {ROWS: ("append", "keys, values"), PRODUCT: ("attention", seen)}
            case Convolve():
                return {ROWS: ("convolve", f"{op.taps} positions")}
            case ConvolveSilu():
                return {ROWS: ("convolve", f"{op.taps} positions")}
            case Scan():
                return {ROWS: ("convolve", f"{op.taps} positions"), PRODUCT: ("scan", f"{op.heads} heads")}
            case GatedDelta():
                return {ROWS: ("convolve", f"{op.taps} positions"), PRODUCT: ("delta rule", f"{op.heads} heads")}
            case SelectiveScan():
                return {ROWS: ("append", "x, B, C"), PRODUCT: ("scan", f"{op.channels} channels")}
            case GatedRecurrence():
                return {ROWS: ("append", "inputs, forget gates"), PRODUCT: ("recurrence", f"{op.channels} channels")}
            case TrapezoidalScan():
                return {ROWS: ("append", "x, B, C, controls"), PRODUCT: ("scan", f"{op.heads} heads")}
            case Gate():
                return {ROWS: ("gate", op.kind)}
            case Experts():
                return {ROWS: ("quantise", "rows by expert"), PRODUCT: ("experts", f"{op.used} of {len(op.experts)}")}
            case Logits():
                return {
                    ROWS: prepare or ("quantise", f"{op.source}, wanted rows"),
                    PRODUCT: ("logits", _role([op.weight] if op.weight else [])),
                }

    def records(self, times: NDArray[np.int64]) -> list[Record]:
        """Return records in the order in which a step first meets them.

        Parameters
        ----------
        times : int64, (operations + 1, 3)
            Nanoseconds of every operation, by part.
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
    """Return the number of positions that rows see in all, the last of each given as a count."""
    return int((np.minimum(last, window) if window else last).sum())


def _role(names: Iterable[str]) -> str:
    """Return names of tensors without their layers: blk.3.ffn_up.weight is ffn_up."""
    return " + ".join(re.sub(r"^blk\.\d+\.|\.weight$", "", name) for name in names)
