"""The NumPy executor: runs a Program in the normative arithmetic, written for readability rather than speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.executors.base import Exchanger, check_consecutive, check_program, check_whole, state_slots
from intact.executors.outliers import with_outliers
from intact.models.aspects.op import Cached, Op
from intact.models.aspects.parameters import integer_weight
from intact.models.aspects.step import LOGIT_FRACTION, ReferenceStep, Rows, SequenceChunk
from intact.models.program import Program
from intact.numerics import sampling
from intact.numerics.activations import Quantized, to_bytes
from intact.numerics.profiles import Profile, parse_profile
from intact.numerics.rope import sine_cosine
from intact.numerics.scan import BLOCK
from intact.numerics.weights import BlockWeight

T = TypeVar("T")


class _Memory:
    """Weights, pages and parameters of operations (`intact.models.aspects.step.Memory`)."""

    def __init__(self, program: Program, outliers: dict[str, int], bits: int, page_size: int) -> None:
        self._program, self._outliers, self._bits, self.page_size = program, outliers, bits, page_size
        self._weights: dict[str, BlockWeight] = {}
        self._once: dict[tuple[Callable[..., Any], Any], Any] = {}
        layers = {(op.order, op.layer): op for op in program.ops if isinstance(op, Cached)}
        parts = [layers[key] for key in sorted(layers)]
        self._cached = {(op.order, op.layer): _arrays(op.cached_shapes(program)) for op in parts}
        self._states = {(op.order, op.layer): _arrays(op.state_shapes()) for op in parts}
        self.exchanger: Exchanger | None = None
        self.recorded: dict[int, Quantized] | None = None
        self.saturated = 0

    @property
    def arrays(self) -> list[tuple[list[list[Rows]], int]]:
        """The arrays of the cache, each group with its number of entries per page."""
        return [
            (list(self._cached.values()), self.page_size),
            (list(self._states.values()), state_slots(self.page_size)),
        ]

    def weight(self, name: str) -> BlockWeight:
        if name not in self._weights:
            tensor = self._program.tensors[name]
            self._weights[name] = integer_weight(tensor, self._bits, self._outliers.get(name, 0))
        return self._weights[name]

    def outliers(self, buffer: str) -> int:
        return self._outliers.get(buffer, 0)

    def once(self, make: Callable[..., T], op: Any, *options: Any) -> T:
        if (make, op) not in self._once:
            self._once[make, op] = make(self._program, op, *options)
        found: T = self._once[make, op]
        return found

    def cached(self, op: Any) -> list[Rows]:
        return self._cached[op.order, op.layer]

    def states(self, op: Any) -> list[Rows]:
        return self._states[op.order, op.layer]

    def slots(self, pages: NDArray[np.int32]) -> Rows:
        return (pages.astype(np.int64)[:, None] * self.page_size + np.arange(self.page_size)).reshape(-1)

    def state(self, pages: NDArray[np.int32], position: int) -> int:
        page = int(pages[position // self.page_size])
        return page * state_slots(self.page_size) + position % self.page_size // BLOCK

    def exchange(self, op: Any, own: Rows | None, whole: Rows) -> None:
        assert self.exchanger is not None
        self.exchanger(op, own, whole)

    def record(self, index: int, entered: Quantized) -> None:
        if self.recorded is not None:
            self.recorded[index] = entered


def _arrays(shapes: Sequence[tuple[int, ...]]) -> list[Rows]:
    return [np.zeros((0, *shape), np.int64) for shape in shapes]


class ReferenceExecutor:
    """Runs the integer profiles, one operation after another, on whole rows of int64."""

    layout = "reference 1"

    def __init__(
        self,
        program: Program,
        bits: int = 8,
        page_size: int = 32,
        profile: Profile = "int8",
        exchange: Exchanger | None = None,
    ) -> None:
        self.profile, self._parts = profile, parse_profile(profile)
        check_program(program, self._parts, exchange)
        for op in program.ops:
            op.check(program, self._parts)
        self.trees = not program.recurrent() and not program.is_encoder
        self.program, outliers = with_outliers(program, self._parts)
        self.page_size, self.bits = page_size, bits
        self._memory = _Memory(self.program, outliers, bits, page_size)
        self._memory.exchanger = exchange
        self._head: Quantized | None = None  # what entered it in the last step

    @property
    def description(self) -> dict[str, object]:
        """The executor, tier and number of threads in use."""
        return {"executor": "reference", "tier": "numpy", "threads": 1}

    @property
    def saturated(self) -> int:
        """Number of recurrent-state values that have saturated so far."""
        return self._memory.saturated

    @property
    def page_bytes(self) -> int:
        """Size of a page in bytes."""
        return 8 * sum(
            size * int(np.prod(array.shape[1:]))
            for lists, size in self._memory.arrays
            for arrays in lists
            for array in arrays
        )

    def close(self) -> None:
        """Free the weights and the pages; the executor cannot be used afterwards."""
        self._memory = _Memory(replace(self.program, ops=()), {}, self.bits, self.page_size)
        self._head = None

    def reserve_pages(self, count: int) -> None:
        """Allocate pages until there are at least `count`."""
        for lists, size in self._memory.arrays:
            for arrays in lists:
                for i, old in enumerate(arrays):
                    more = max(0, count * size - len(old))
                    arrays[i] = np.concatenate([old, np.zeros((more, *old.shape[1:]), np.int64)])

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page onto another."""
        for to, part in zip(self._page(target), self._page(source), strict=True):
            to[:] = part

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Return a copy of a page's bytes: keys, their scales, values and their scales of each layer, as int64."""
        return np.concatenate([part.reshape(-1) for part in self._page(page)]).view(np.uint8)

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Overwrite a page with bytes that `read_page` returned."""
        if len(data) != self.page_bytes:
            raise ParameterError(f"a page has {self.page_bytes} bytes, got {len(data)}")
        values, at = data.view(np.int64), 0
        for part in self._page(page):
            part[:] = values[at : at + part.size].reshape(part.shape)
            at += part.size

    def _page(self, page: int) -> list[Rows]:
        """Return views of the parts of the cache that belong to a page."""
        return [
            array[page * size : (page + 1) * size]
            for lists, size in self._memory.arrays
            for arrays in lists
            for array in arrays
        ]

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Copy cached slots of one sequence towards its front, in ascending order."""
        (cached, _), slots = self._memory.arrays[0], self._memory.slots(pages)
        for source, target in zip(slots[sources].tolist(), slots[targets].tolist(), strict=True):
            for arrays in cached:
                for array in arrays:
                    array[target] = array[source]

    @property
    def recording(self) -> bool:
        """If true, steps keep the inputs of their products, for calibration. Setting it discards earlier inputs."""
        return self._memory.recorded is not None

    @recording.setter
    def recording(self, on: bool) -> None:
        self._memory.recorded = {} if on else None

    def recorded(self, op: int) -> Quantized:
        """Return the inputs that the product at operation index `op` read in the last recorded step."""
        if self._memory.recorded is None or op not in self._memory.recorded:
            raise ParameterError(f"no recorded step has passed a product that is operation {op}")
        return self._memory.recorded[op]

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run a step; return the wanted rows' logits in Q16, int32 (wanted, vocabulary)."""
        *_, (_, step) = self.trace(chunks, wanted)
        if step.logits is None:
            return np.zeros((0, self.program.vocabulary), np.int32)
        self._head = step.head
        return step.logits.astype(np.int32)

    def trace(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> Iterator[tuple[Op, ReferenceStep]]:
        """Run a step; yield it after each operation, with the operation."""
        check_consecutive(self.program, chunks)
        check_whole(self.program, chunks)
        positions = np.concatenate([chunk.positions() for chunk in chunks])
        rotations = zip(self.program.rotations, self.program.factors(), strict=True)
        step = ReferenceStep(
            self.program,
            self._parts,
            self._memory,
            chunks,
            wanted,
            np.concatenate([chunk.tokens for chunk in chunks]),
            positions,
            [sine_cosine(positions, turns, factor) for turns, factor in rotations],
            {name: buffer.fraction for name, buffer in self.program.buffers.items()},
        )
        for step.index, op in enumerate(self.program.ops):
            op.step(step)
            yield op, step

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run a step; return the wanted rows' logits as float32 (wanted, vocabulary)."""
        return self.step(chunks, wanted).astype(np.float32) / np.float32(1 << LOGIT_FRACTION)

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's inputs for some rows of the last step's logits."""
        if self._head is None:
            raise ParameterError("no step has given logits yet")
        return to_bytes(Quantized(*(part[rows] for part in self._head)))

    def draw(
        self, logits: NDArray[np.int32], draws: Sequence[sampling.Draw]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw tokens; return them with their log-probabilities (Q24), or -1 and 0 if no token is allowed."""
        tokens = np.array([sampling.draw(logits[d.row], *d[1:]) for d in draws], np.int64)
        pairs = zip(draws, tokens.tolist(), strict=True)
        logprobs = [sampling.log_probability(logits[d.row], t) if t >= 0 else 0 for d, t in pairs]
        return tokens, np.array(logprobs, np.int64)

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the k most likely tokens of some rows, ties by lowest id: tokens and log-probabilities, (m, k)."""
        if not 1 <= k <= logits.shape[1]:
            raise ParameterError(f"k must lie in 1 to {logits.shape[1]}, got {k}")
        tokens = np.array([sampling.top(logits[row], k) for row in rows], np.int32).reshape(-1, k)
        logprobs = [
            [sampling.log_probability(logits[row], t) for t in ranked.tolist()]
            for row, ranked in zip(rows, tokens, strict=True)
        ]
        return tokens, np.array(logprobs, np.int64).reshape(-1, k)

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """Return only the tokens of `top`."""
        return self.top(logits, rows, k)[0]

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the log-probability (nats, Q24) of one token of each row."""
        return np.array(
            [sampling.log_probability(row, int(t)) for row, t in zip(logits, tokens, strict=True)], np.int64
        )
