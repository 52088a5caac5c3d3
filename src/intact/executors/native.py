"""The C++ executor: one call per step, with the interpreter lock released."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact._base.errors import IntactError, ModelError, ParameterError
from intact.checkpoints.formats import Tensor
from intact.executors.base import (
    BUILD_TIERS,
    Exchanger,
    check_consecutive,
    check_program,
    choose_pinned,
    choose_threads,
    choose_tier,
    fixed_logits,
)
from intact.executors.outliers import with_outliers
from intact.executors.packing import pack
from intact.executors.profile import Record, StepWork
from intact.executors.weight_file import WeightFile
from intact.models.aspects.parameters import bias_values, integer_bias, integer_weight
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import AllGather, Linear, Logits
from intact.models.ops.embed import check_embedding
from intact.models.program import Program
from intact.numerics.activations import INT8, Quantized, from_row_bytes
from intact.numerics.dequantize import dequantize
from intact.numerics.integers import INTEGER
from intact.numerics.norm import Gain
from intact.numerics.profiles import Profile, parse_profile
from intact.numerics.rope import factor_q30
from intact.numerics.sampling import Draw


class Paged(NamedTuple):
    """Bytes of mapped weights: requested and dropped so far, bytes currently counted as in memory, and their peak."""

    requested: int
    dropped: int
    here: int
    most: int


_COUNTERS = ("steps", "rows", "largest_step", "chunks", "tree_rows", "shared_positions", "ended_rows")


def available_tiers() -> list[str]:
    """Return the tiers that were built and that this machine supports, best first."""
    return list(_native.kernels.tiers())


def missing_tiers() -> list[str]:
    """Return the tiers that this machine supports but that were not built, best first."""
    return list(_native.kernels.missing_tiers())


def chosen_tier() -> str:
    """Return the tier named by INTACT_ISA, or the best available tier if it is unset.

    Raises
    ------
    ParameterError
        If INTACT_ISA names a tier that is unknown, not built or not supported by this processor.
    """
    return choose_tier(available_tiers(), missing_tiers())


def faster_tier() -> str | None:
    """Return the processor's best tier if it was not built and is faster than those that were; otherwise None.

    An installation from source builds only the best tier of the machine that builds it; another machine that shares its
    folder may support a better one.
    """
    name: str | None = _native.kernels.faster_tier()
    return name


def describe_faster_tier() -> str | None:
    """Describe the faster tier that was not built and how to build it; return None if there is no such tier."""
    if (tier := faster_tier()) is None:
        return None
    return f"This processor has {tier}, which is faster than {available_tiers()[0]} and was not built. {BUILD_TIERS}"


@contextmanager
def parameter_errors() -> Iterator[None]:
    """Convert the extension's argument errors to ParameterError."""
    try:
        yield
    except IntactError:
        raise  # of an exchange, in Python
    except ValueError as error:
        raise ParameterError(str(error)) from error


def _numbered(program: Program, exchange: Exchanger) -> Callable[[int, Any, Any], None]:
    """Return a callback that runs exchanges by operation index."""

    def run(i: int, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        op = program.ops[i]
        assert isinstance(op, AllGather)
        exchange(op, own, whole)

    return run


class _Lowering:
    """Adds the weights and numbers of operations to a native model (`intact.models.aspects.lowering`)."""

    def __init__(self, executor: NativeExecutor, buffers: Mapping[str, int]) -> None:
        self.tables, self.profile = executor.program, parse_profile(executor.profile)
        self._executor, self._model, self._buffers = executor, executor._model, buffers

    def outliers(self, buffer: str) -> int:
        return self._executor._outliers.get(buffer, 0)

    def buffer(self, name: str | None) -> int:
        return -1 if name is None else self._buffers[name]

    def weight(self, name: str | None) -> int:
        return -1 if name is None else self._executor._weight(name)

    def embedding(self, name: str) -> int:
        weight = self.weight(name)
        if not self.profile.float32:
            check_embedding(name, self._model.largest_exponent(weight))
        return weight

    def gain(self, gain: Gain, values: NDArray[np.float32], epsilon: float) -> int:
        return int(self._model.add_gain(gain.factor, gain.exponent, gain.epsilon, values, epsilon))

    def numbers(self, integers: NDArray[np.int64], floats: NDArray[np.float32]) -> int:
        return int(self._model.add_bias(integers, floats))

    def bias(self, name: str | None, fraction: int) -> int:
        if name is None:
            return -1
        return self.numbers(integer_bias(self.tables, name, fraction), bias_values(self.tables, name))

    def target(self, buffer: str, weight: str | None, bias: int = -1, accumulate: bool = False) -> Any:
        return _native.Target(self.buffer(buffer), self.weight(weight), bias, accumulate)


class NativeExecutor:
    """Holds a Program's weights in the profile's format and runs it.

    Parameters
    ----------
    profile : str
        Profile, in the form that `parse_profile` accepts. The fp32 profile maps the checkpoint's own bytes.
    bits : {8, 4}
        Number of bits per code for matrices that the checkpoint stores as floats (integer profiles).
    page_size : int
        Positions per page of the KV cache, a multiple of 16.
    exchange : Exchanger, optional
        Callback that runs the program's exchanges, if it has any.
    mapped : WeightFile, optional
        File of packed matrices for an integer profile; matrices that it lacks are held in memory.
    weights_memory : int, optional
        Maximum number of bytes of that file to keep in memory.
    """

    layout = "native 1"

    def __init__(
        self,
        program: Program,
        profile: Profile = "int8",
        threads: int | None = None,
        tier: str | None = None,
        bits: int = 8,
        page_size: int = 32,
        exchange: Exchanger | None = None,
        *,
        mapped: WeightFile | None = None,
        weights_memory: int = 1 << 62,
    ) -> None:
        self.profile, self.page_size = profile, page_size
        self._parts = parse_profile(profile)
        check_program(program, self._parts, exchange)
        self.program, self._outliers = with_outliers(program, self._parts)
        self.trees = not self._parts.float32 and not program.recurrent() and not program.is_encoder
        tier = tier or chosen_tier()
        count = choose_threads(threads)
        shape = (program.layers, program.kv_heads, program.head_width, page_size)
        with parameter_errors():
            self._model: Any = _native.Model(profile, tier, count, *shape, choose_pinned())
            scheme = self._parts.scheme
            if scheme is not INT8 and not scheme.static:
                self._model.set_scheme(*scheme.native)
            if (codec := self._parts.codec) is not None:
                self._model.set_kv_bits(codec.key_bits, codec.value_bits)
            if exchange is not None:
                self._model.set_exchange(_numbered(program, exchange))
        self.bits = bits
        self._weights: dict[str, int] = {}
        self._mapped = mapped
        self._cold: BinaryIO | None = None
        self._sources: list[NDArray[np.uint8]] = []  # that the fp32 profile reads in every step
        self._add_program()
        if mapped is not None:
            with parameter_errors():
                self._model.set_pager(mapped.data, weights_memory)
        self._work: StepWork | None = None

    @property
    def profiling(self) -> bool:
        """If true, steps record how they spend their time. Setting it to either value discards earlier records."""
        return self._work is not None

    @profiling.setter
    def profiling(self, on: bool) -> None:
        self._model.profiling = on
        fused = {i: norm for i, norm in enumerate(self._model.fused_norms()) if norm >= 0}
        options = self.profile == "fp32", self._weight_size, fused, self._parts.codec
        self._work = StepWork(self.program, *options) if on else None

    def profile_records(self) -> list[Record]:
        """Return how the steps have spent their time since `profiling` was set; empty while it is false."""
        return self._work.records(self._model.times()) if self._work else []

    def _weight_size(self, name: str) -> int:
        if self.profile == "fp32":
            return self.program.tensors[name].stored_bytes
        return int(self._model.packed_bytes(self._weights[name]))

    @property
    def description(self) -> dict[str, object]:
        """Executor, tier, threads and bytes of packed weights; for a mapped file also the peak bytes in memory."""
        model = self._model
        facts = {"executor": "native", "tier": model.tier, "threads": model.threads, "weight_bytes": model.weight_bytes}
        return facts if self._mapped is None else {**facts, "mapped_bytes": self.paged.most}

    @property
    def paged(self) -> Paged:
        """Counts of the pager of mapped weights so far."""
        return Paged(*self._model.paged())

    def drop_caches(self, on: bool) -> None:
        """If `on` is true, also evict pages dropped by the pager from the system's cache, so rereads hit the disk.

        Intended for benchmarks; otherwise, spare memory is best left to the cache.
        """
        self._cold = self._mapped.path.open("rb") if on and self._mapped is not None else None
        with parameter_errors():
            self._model.drop_caches(-1 if self._cold is None else self._cold.fileno())

    @property
    def page_bytes(self) -> int:
        """Size of a page in bytes."""
        return int(self._model.page_bytes)

    @property
    def saturated(self) -> int:
        """Number of recurrent-state values that have saturated so far."""
        return int(self._model.saturated)

    @property
    def counters(self) -> dict[str, int]:
        """Counters over all steps so far."""
        counters = self._model.counters
        return {name: getattr(counters, name) for name in _COUNTERS}

    def _weight(self, name: str) -> int:
        if name not in self._weights and self._mapped is not None and name in self._mapped:
            self._weights[name] = self._model.add_packed(self._mapped.weight(name))
        if name not in self._weights:
            tensor = self.program.tensors[name]
            try:
                self._weights[name] = self._add_weight(tensor, self._outliers.get(name, 0))
            except (ModelError, ValueError) as error:
                shape = " x ".join(map(str, tensor.shape))
                raise ModelError(f"tensor {tensor.name} ({tensor.kind}, {shape}): {error}") from error
        return self._weights[name]

    def _add_weight(self, tensor: Tensor, outliers: int) -> int:
        kind, data = tensor.kind, tensor.data
        if kind == INTEGER and self.profile != "fp32":
            return int(self._model.add_packed(pack(integer_weight(tensor, self.bits, outliers), self._model.threads)))
        if kind == INTEGER:
            kind, data = "F32", dequantize(kind, data, tensor.shape).reshape(-1).view(np.uint8)
        if self.profile == "fp32":
            self._sources.append(data)
        return int(self._model.add_weight(kind, data, *tensor.shape, self.bits))

    @property
    def recording(self) -> bool:
        """If true, steps keep the inputs of their products, for calibration. Setting it discards earlier inputs."""
        return bool(self._model.recording)

    @recording.setter
    def recording(self, on: bool) -> None:
        if on and self._parts.scheme.wide:
            raise ParameterError(f"the profile {self.profile} records no inputs of products; use int8")
        self._model.recording = on

    def recorded(self, op: int) -> Quantized:
        """Return the inputs that the product at operation index `op` read in the last step."""
        product = self.program.ops[op]
        if not isinstance(product, Linear | Logits):
            raise ParameterError(f"operation {op} is a {type(product).__name__}: products alone are recorded")
        with parameter_errors():
            data = self._model.recorded(op)
        return from_row_bytes(data, self.program.buffers[product.source].width)

    def _add_program(self) -> None:
        program, model = self.program, self._model
        buffers = {name: model.add_buffer(buffer.width, buffer.wide) for name, buffer in program.buffers.items()}
        for turns, factor in zip(program.rotations, program.factors(), strict=True):
            model.add_rotation(turns, factor_q30(factor))
        low = _Lowering(self, buffers)
        for op in program.ops:
            native = _native.Op(op.native)
            for name, value in op.lower(low).items():
                setattr(native, name, value)
            model.add_op(native)

    def close(self) -> None:
        """Free weights, pages and threads; the executor cannot be used afterwards."""
        self._model = self._work = self._mapped = self._cold = None

    def reserve_pages(self, count: int) -> None:
        """Allocate pages until there are at least `count`."""
        self._model.reserve_pages(count)

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page onto another."""
        self._model.copy_page(source, target)

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Return a copy of a page's bytes."""
        with parameter_errors():
            return np.asarray(self._model.read_page(page))

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Overwrite a page with bytes that `read_page` returned."""
        with parameter_errors():
            self._model.write_page(page, data)

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Copy cached slots of one sequence towards its front, in ascending order."""
        with parameter_errors():
            self._model.move(pages, np.asarray(sources, np.int64), np.asarray(targets, np.int64))

    def _step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        check_consecutive(self.program, chunks)
        positions, tokens, tables, parents, adapters = zip(*chunks, strict=True)
        spans = list(zip(positions, map(len, tokens), strict=True))
        trees = [(i, tree) for i, tree in enumerate(parents) if tree is not None]
        ended = self._model.counters.ended_rows if self._work else 0
        with parameter_errors():
            texts = np.concatenate(tokens) if len(tokens) > 1 else tokens[0]
            raw: NDArray[np.int32] = self._model.step(texts, spans, list(tables), wanted, trees, list(adapters))
        if self._work:
            self._work.add(chunks, wanted, self._model.counters.ended_rows > ended)
        if self.profile == "fp32" and not np.isfinite(raw.view(np.float32)).all():
            raise ModelError("a logit is not finite in FP32: the weights of this model are too large")
        return raw

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run a step; return the wanted rows' logits in Q16, int32 (wanted, vocabulary), valid until the next step."""
        raw = self._step(chunks, wanted)
        return raw if self.profile != "fp32" else fixed_logits(raw.view(np.float32))

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run a step; return the wanted rows' logits as float32 (wanted, vocabulary), valid until the next step."""
        raw = self._step(chunks, wanted)
        return raw.view(np.float32) if self.profile == "fp32" else raw.astype(np.float32) / np.float32(65536)

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's inputs for some rows of the last step's logits."""
        with parameter_errors():
            return np.asarray(self._model.head_inputs(np.asarray(rows, np.int64)))

    def draw(self, logits: NDArray[np.int32], draws: Sequence[Draw]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw tokens; return them with their log-probabilities (Q24), or -1 and 0 if no token is allowed."""
        with parameter_errors():
            tokens, logprobs = _native.draw(self._model, logits, draws)
        return tokens, logprobs

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the k most likely tokens of some rows, ties by lowest id: tokens and log-probabilities, (m, k)."""
        with parameter_errors():
            tokens, logprobs = _native.top(self._model, logits, np.asarray(rows, np.int64), k)
        return tokens, logprobs

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """Return only the tokens of `top`, which is cheaper."""
        with parameter_errors():
            return np.asarray(_native.likeliest(self._model, logits, np.asarray(rows, np.int64), k))

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the log-probability (nats, Q24) of one token of each row."""
        return np.asarray(_native.log_probabilities(self._model, logits, np.asarray(tokens, np.int64)))
