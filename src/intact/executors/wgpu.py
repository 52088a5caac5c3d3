"""The GPU executor: a step runs as shaders in 32-bit integers, with the bits of the native executor (docs/gpu.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact._base.errors import ParameterError
from intact.executors.base import (
    Exchanger,
    check_consecutive,
    check_program,
    check_whole,
    choose_threads,
)
from intact.executors.gpu.batch import batch_words, join_words, parts_of, step_rows
from intact.executors.gpu.checking import (
    DeviceMismatchError,
    Rechecker,
    check_steps,
    compare,
    first_difference,
)
from intact.executors.gpu.device import Device, NoDeviceError, open_device
from intact.executors.gpu.memory import DeviceMemory
from intact.executors.gpu.planning import make_plan
from intact.executors.gpu.running import PlanRunner
from intact.executors.native import NativeExecutor, chosen_tier, parameter_errors
from intact.executors.reference import ReferenceExecutor
from intact.models.aspects.step import LOGIT_FRACTION, SequenceChunk
from intact.models.ops import Logits
from intact.models.program import Program
from intact.numerics.profiles import Profile, parse_profile
from intact.numerics.sampling import Draw


class WgpuExecutor:
    """Holds a Program's weights on a GPU and runs it in the profile int8.

    Draws and log-probabilities are computed on the CPU.

    Parameters
    ----------
    profile : str
        ``int8``.
    bits : {8, 4}
        Number of bits per code for matrices that the checkpoint stores as floats.
    page_size : int
        Positions per page of the KV cache, a multiple of 16.
    threads : int, optional
        Number of threads for packing weights and for draws.
    device : Device, optional
        The device; by default the best one.
    software : bool
        If false, refuse a device in software.
    memory : int, optional
        Maximum number of bytes of the device's memory for weights, cache and rows.
    check : bool
        If true, compare a few steps with the native executor first; this takes its memory and time of loading.
    recheck : int
        If above 0, compute one row again with the native executor in every step of this number; it stays in memory.

    Raises
    ------
    ParameterError
        If there is no device, or the program or the profile needs an operation that has no shader.
    CapacityError
        If a buffer exceeds the device's limits, its memory or `memory`.
    DeviceMismatchError
        If the check finds other bits than the CPU's; it names the operation, the driver and the device.
    """

    layout = "native 1"

    def __init__(
        self,
        program: Program,
        profile: Profile = "int8",
        threads: int | None = None,
        bits: int = 8,
        page_size: int = 32,
        exchange: Exchanger | None = None,
        *,
        device: Device | None = None,
        software: bool = True,
        memory: int | None = None,
        check: bool = False,
        recheck: int = 0,
    ) -> None:
        _check_profile(profile)
        parts = parse_profile(profile)
        if page_size % 16 or page_size < 16:
            raise ParameterError(f"page_size must be a multiple of 16, got {page_size}")
        check_program(program, parts, exchange)
        for op in program.ops:
            op.check(program, parts)
        self.profile, self.bits, self.page_size, self.program = profile, bits, page_size, program
        self.trees = not program.is_encoder
        self._threads = choose_threads(threads)
        self._device = open_device() if device is None else device
        if self._device.adapter.is_software and not software:
            raise NoDeviceError(f"the only device is in software: {self._device.adapter}")
        self._memory = DeviceMemory(self._device, memory)
        weights: dict[str, Any] = {}

        def store(name: str, words: NDArray[np.uint32]) -> None:
            weights[name] = self._memory.upload(words, name)

        self._plan = make_plan(program, bits, page_size, self._device.adapter.binding, store, self._threads)
        self.weight_bytes = sum(buffer.size for buffer in weights.values())
        page_words = self.page_bytes // 4 // max(1, program.layers)
        self._runner = PlanRunner(self._memory, self._plan, weights, page_words, self._vocabulary)
        shape = (program.layers, program.kv_heads, program.head_width, page_size)
        self._draws: Any = _native.Model("int8", chosen_tier(), self._threads, *shape, False)
        self._checker: Rechecker | None = None
        self._heads: dict[int, NDArray[np.uint8]] = {}
        self._counters = Counter(dict.fromkeys(("steps", "rows", "largest_step", "chunks", "tree_rows"), 0))
        self._last_start = 0
        self._wanted: NDArray[np.int64] = np.zeros(0, np.int64)
        if check or recheck:
            cpu = NativeExecutor(program, profile, threads, None, bits, page_size, exchange)
            if check:
                self._compare_with(cpu)
            if recheck:
                self._checker = Rechecker(cpu, recheck, str(self._device.adapter))

    def _compare_with(self, cpu: NativeExecutor) -> None:
        """Compare the first steps of a text with the CPU's.

        Raises
        ------
        DeviceMismatchError
            If they differ.
        """
        chunks = check_steps(self.program, self.page_size)
        failed = compare(self, cpu, chunks)
        if failed is None:
            return
        reference = ReferenceExecutor(self.program, self.bits, self.page_size, self.profile)
        reference.reserve_pages(len(chunks[0].pages))
        for chunk in chunks[:failed]:
            reference.step([chunk], np.zeros(0, np.int64))
        found = first_difference(
            reference, self._runner, self._plan, lambda: self._upload([chunks[failed]]), [chunks[failed]]
        )
        raise DeviceMismatchError(
            f"{self._device.adapter}: {found} gives other bits than the CPU; this device or its driver cannot be used: "
            "update the driver, or load with executor='native'"
        )

    def _upload(self, chunks: Sequence[SequenceChunk]) -> None:
        """Upload a step of few rows, all of them wanted."""
        rows = step_rows(self.program, chunks, self.page_size)
        count = len(rows.tokens)
        words = batch_words(self.program, self._plan.row_words, rows, slice(0, count), np.arange(count))
        self._runner.upload(words, count, count, rows.longest(0, count))

    @property
    def _vocabulary(self) -> int:
        weights = [op.weight for op in self.program.ops if isinstance(op, Logits)]
        return 0 if not weights or weights[0] is None else int(self.program.tensors[weights[0]].shape[0])

    @property
    def description(self) -> dict[str, object]:
        """Executor, device, threads for draws and bytes of weights on the device."""
        return {
            "executor": "wgpu",
            "tier": str(self._device.adapter),
            "threads": self._threads,
            "weight_bytes": self.weight_bytes,
        }

    @property
    def counters(self) -> dict[str, int]:
        """Counters over all steps so far; the first five as those of the native executor."""
        return dict(self._counters) | {
            "submissions": self._runner.submissions,
            "dispatches": self._runner.dispatched,
        }

    @property
    def saturated(self) -> int:
        """Number of recurrent-state values that have saturated: none, as programs with such states are refused."""
        return 0

    @property
    def page_bytes(self) -> int:
        """Size of a page in bytes."""
        width = -(-self.program.head_width // 16) * 16
        return self.program.layers * self.program.kv_heads * self.page_size * (3 * width + 8)

    def close(self) -> None:
        """Free weights and pages; the executor cannot be used afterwards."""
        self._runner.close()
        self._checker = None
        del self._draws

    def reserve_pages(self, count: int) -> None:
        """Allocate pages until there are at least `count`."""
        self._runner.reserve_pages(count)

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page onto another."""
        self._runner.copy_page(source, target)

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Return a copy of a page's bytes, the same as the native executor's."""
        return self._runner.read_page(page)

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Overwrite a page with bytes that `read_page` returned."""
        if len(data) != self.page_bytes:
            raise ParameterError(f"a page has {self.page_bytes} bytes, got {len(data)}")
        self._runner.write_page(page, data)

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Copy cached slots of one sequence towards its front, in ascending order."""
        size = self.page_size
        moved = {
            name: pages[at // size].astype(np.int64) * size + at % size
            for name, at in (("slots", np.asarray(sources)), ("texts", np.asarray(targets)))
        }
        if len(sources):
            self._runner.move(join_words({"rows": len(sources)}, moved))

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run a step; return the wanted rows' logits in Q16, int32 (wanted, vocabulary)."""
        return self._step(chunks, wanted)

    def _step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        check_consecutive(self.program, chunks)
        check_whole(self.program, chunks)
        rows = step_rows(self.program, chunks, self.page_size)
        wanted = np.asarray(wanted, np.int64)
        logits = np.zeros((len(wanted), self._vocabulary), np.int32)
        most = self._runner.most_rows(rows.longest(0, len(rows.tokens)))
        self._heads.clear()
        for part in parts_of(rows, most, self.program.is_encoder):
            here = np.flatnonzero((wanted >= part.start) & (wanted < part.stop))
            words = batch_words(self.program, self._plan.row_words, rows, part, wanted[here] - part.start)
            longest = rows.longest(part.start, part.stop)
            logits[here] = self._runner.run(words, part.stop - part.start, len(here), longest)
            self._remember_heads(part, wanted[here], last=part.stop == len(rows.tokens))
        self._wanted = wanted
        self._count(chunks, len(rows.tokens))
        if self._checker is not None:
            self._checker.after(chunks, wanted, logits, self.read_page)
        return logits

    def _count(self, chunks: Sequence[SequenceChunk], rows: int) -> None:
        drafted = sum(len(chunk.tokens) for chunk in chunks if chunk.parents is not None)
        self._counters.update(steps=1, rows=rows, chunks=len(chunks), tree_rows=drafted)
        self._counters["largest_step"] = max(self._counters["largest_step"], rows)

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run a step; return the wanted rows' logits as float32 (wanted, vocabulary)."""
        return self.step(chunks, wanted).astype(np.float32) / np.float32(1 << LOGIT_FRACTION)

    def _remember_heads(self, part: slice, wanted: NDArray[np.int64], *, last: bool) -> None:
        """Read the head's inputs that the next submission would overwrite."""
        self._last_start = part.start
        if not last:
            self._heads |= {int(row): self._head_bytes(int(row) - part.start) for row in wanted}

    def _head_bytes(self, row: int) -> NDArray[np.uint8]:
        """Return the head's input of a row of the last submission, in the form of `numerics.activations.to_bytes`."""
        head = self._plan.head
        assert head is not None
        words = self._runner.read_row(row, head.offset, 14 * head.blocks + 1).astype("<u4")
        codes, scales, exponent = words[: 8 * head.blocks], words[8 * head.blocks : 9 * head.blocks], words[-1:]
        return np.concatenate([codes.view(np.uint8), scales.astype("<u2").view(np.uint8), exponent.view(np.uint8)])

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's inputs for some rows of the last step's logits."""
        if not len(self._wanted):
            raise ParameterError("no step has given logits yet")
        wanted = self._wanted[np.asarray(rows, np.int64)].tolist()
        found = [self._heads[row] if row in self._heads else self._head_bytes(row - self._last_start) for row in wanted]
        return np.array(found, np.uint8).reshape(len(wanted), -1)

    def draw(self, logits: NDArray[np.int32], draws: Sequence[Draw]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw tokens on the CPU; return them with their log-probabilities (Q24), or -1 and 0 if none is allowed."""
        with parameter_errors():
            tokens, logprobs = _native.draw(self._draws, logits, draws)
        return tokens, logprobs

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the k most likely tokens of some rows, ties by lowest id: tokens and log-probabilities, (m, k)."""
        with parameter_errors():
            tokens, logprobs = _native.top(self._draws, logits, np.asarray(rows, np.int64), k)
        return tokens, logprobs

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """Return only the tokens of `top`, which is cheaper."""
        with parameter_errors():
            return np.asarray(_native.likeliest(self._draws, logits, np.asarray(rows, np.int64), k))

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the log-probability (nats, Q24) of one token of each row."""
        return np.asarray(_native.log_probabilities(self._draws, logits, np.asarray(tokens, np.int64)))


def _check_profile(profile: Profile) -> None:
    if parse_profile(profile) != parse_profile("int8"):
        raise ParameterError(
            f"the executor wgpu runs the profile int8, not {profile}: load with executor='native', or with "
            "profile='int8'"
        )
