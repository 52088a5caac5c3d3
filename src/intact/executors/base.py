"""The interface between engine and executors: pages of a KV cache, steps over chunks of tokens, draws."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError, ParameterError
from intact._base.system import processors
from intact.checkpoints.formats import Tensor
from intact.executors.profiles import Profile, ProfileParts
from intact.models.decoder import float_values
from intact.models.program import (
    AllGather,
    Convolution,
    Embed,
    Experts,
    GatedDelta,
    GatedRecurrence,
    Gather,
    Linear,
    Multiply,
    Norm,
    Program,
    Scan,
    Scatter,
    SelectiveScan,
    TrapezoidalScan,
)
from intact.numerics.activations import FixedScale, fixed_scale
from intact.numerics.attention import sink_scores
from intact.numerics.convolve import integer_taps
from intact.numerics.delta import DeltaWeights
from intact.numerics.dequantize import dequantize
from intact.numerics.experts import SCALE_FRACTION, SCALE_LIMIT, SIGMOID_FRACTION
from intact.numerics.functions import LOG2E, ONE
from intact.numerics.integers import INTEGER, from_bytes, read_inputs
from intact.numerics.kv_codecs.definition import GRANULE
from intact.numerics.multiply import row_multiplier
from intact.numerics.norm import Gain, make_gain
from intact.numerics.outliers import with_rest
from intact.numerics.sampling import Draw
from intact.numerics.scan import BLOCK, MOST_STATES, RATE_FRACTION, RATE_LIMIT, ScanWeights
from intact.numerics.scatter import scatter_index
from intact.numerics.selective import SelectiveWeights
from intact.numerics.sparsity import column_norms
from intact.numerics.trapezoidal import PACE_FRACTION, TrapezoidalWeights, slowest_rate
from intact.numerics.weight_formats import FLOAT_FORMATS
from intact.numerics.weights import BlockWeight, from_blocks, from_floats

LOGIT_FRACTION = 16

Exchanger: TypeAlias = Callable[[AllGather, NDArray[Any] | None, NDArray[Any]], None]
"""Runs an AllGather: given this rank's columns (rows, columns) or None, it sets the target's rows, or adds to them.

Rows are int32, int64 or float32, as executors have them. It keeps neither array.
"""


class SequenceChunk(NamedTuple):
    """Tokens of one sequence, and the sequence's pages in order. Row i is kept in slot `position` + i of the pages.

    Attributes
    ----------
    parents : int32, optional
        None for consecutive tokens. Else the rows are a tree of drafts, at most 64: parents[i] < i is the row that row
        i follows, -1 the text before the chunk. A row has the position that it would have if its ancestors alone stood
        before it, and sees these and the text before the chunk.
    adapter : int
        Whose changes the rows pass (`Adapt`), by number; -1: none.
    """

    position: int
    tokens: NDArray[np.int32]
    pages: NDArray[np.int32]
    parents: NDArray[np.int32] | None = None
    adapter: int = -1


class Executor(Protocol):
    """Runs a Program. Equal inputs give equal bits, whatever the executor and its settings."""

    page_size: int
    profile: Profile
    bits: int
    """Bits of the codes of matrices that the checkpoint stores as floats."""
    trees: bool
    """If true, chunks may be trees."""
    layout: str
    """The name and version of the form in which pages hold keys and values; the same on every tier."""

    @property
    def page_bytes(self) -> int:
        """Bytes of a page."""

    @property
    def description(self) -> dict[str, object]:
        """Executor, tier and threads in use."""

    @property
    def saturated(self) -> int:
        """Numbers of recurrent states that came to the limit so far, where they saturate; of this process's layers."""

    def close(self) -> None:
        """Free weights, pages and threads; nothing can run any more."""

    def reserve_pages(self, count: int) -> None:
        """Allocate pages until there are so many."""

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page onto another."""

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Return a copy of the bytes of a page, uint8 (page_bytes,), in the form that `layout` names."""

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Set the bytes of a page to what `read_page` returned, of any executor with the same layout and program."""

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Copy the contents of slots `sources` of a sequence with these pages to slots `targets`.

        Both ascend, and no target is larger than its source: the accepted path of a tree becomes consecutive.
        """

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run the tokens of all chunks; return the logits of the wanted rows in Q16, int32 (wanted, vocabulary).

        The array may be a view of memory that the next step writes again: copy what must outlive it.
        """

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Do the same and return float32: the logits themselves in the fp32 profile, else the integers scaled."""

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's input for some rows of the last step's logits, as bytes (rows, bytes of a row).

        In the integer profiles they are codes, scales and exponent (`numerics.activations.to_bytes`); in fp32 floats.
        """

    def draw(self, logits: NDArray[np.int32], draws: Sequence[Draw]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw tokens; return them and their log-probabilities (Q24) by the logits before edits and filters.

        A draw whose edits and mask leave no token returns -1, and a log-probability of 0.
        """

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the k likeliest tokens of some rows, ties by least id: tokens (m, k), log-probabilities (m, k)."""

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """Return the tokens of `top` alone, which costs less."""

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the log-probability (nats, Q24) of one token of each row."""


def fixed_logits(logits: NDArray[np.float32]) -> NDArray[np.int32]:
    """Convert float logits to Q16, rounded half up and saturated: the fp32 profile samples from these."""
    limit = float((1 << 31) - 1)
    return np.clip(np.floor(logits.astype(np.float64) * 65536 + 0.5), -limit, limit).astype(np.int32)


def embed_multiplier(scale: Fraction) -> int:
    """The embedding's factor in Q24."""
    return int(scale * (1 << 24) + Fraction(1, 2))


def gain_values(program: Program, op: Norm) -> NDArray[np.float32]:
    """A norm's gain as float32."""
    tensor = program.tensors[op.gain]
    values = float_values(tensor, tensor.shape[0], "gain")
    values = values + np.float32(op.offset) if op.offset else values
    return values if op.factor == 1 else (values * float(op.factor)).astype(np.float32)


def integer_gain(program: Program, op: Norm) -> Gain:
    """A norm's gain as integers, checked against the bounds of the sums."""
    gain = make_gain(gain_values(program, op), op.eps, op.groups)
    if not -20 <= gain.exponent <= 30:
        name, size = program.tensors[op.gain].name, f"2^{gain.exponent}"
        raise ModelError(f"tensor {name}: the largest gain times sqrt(n) is {size}, beyond what fixed point holds")
    return gain


def tap_values(program: Program, op: Convolution | Scan | GatedDelta) -> NDArray[np.float32]:
    """Return a convolution's weights as float32 (width, taps); the last column is that of the position itself."""
    width = op.width if isinstance(op, Convolution) else op.shape.channels
    tensor, count = program.tensors[op.weight], width * op.taps
    flat = Tensor(tensor.name, tensor.kind, (count,), tensor.data)
    return float_values(flat, count, "convolution").reshape(width, op.taps)


def convolution_taps(program: Program, op: Convolution | Scan | GatedDelta) -> NDArray[np.int64]:
    """Return a convolution's weights in Q20, int64 (width, taps).

    Raises
    ------
    ModelError
        If there are too many, or one is too large.
    """
    try:
        return integer_taps(tap_values(program, op))
    except ValueError as error:
        raise ModelError(f"tensor {program.tensors[op.weight].name}: {error}") from error


def state_slots(page_size: int) -> int:
    """Return the states that a page has room for: those behind the blocks that end in it."""
    return -(-page_size // BLOCK)


def scan_weights(program: Program, op: Scan) -> ScanWeights:
    """Return the parameters of a state-space layer as integers.

    Raises
    ------
    ModelError
        If one is too large, or a head's state would grow by itself.
    """
    taps, step_bias, rate = _recurrent_weights(program, op)
    bias = np.zeros(op.shape.channels, np.int64) if op.bias is None else integer_bias(program, op.bias, 16)
    return ScanWeights(taps, bias, step_bias, rate, integer_bias(program, op.skip, 16))


def delta_weights(program: Program, op: GatedDelta) -> DeltaWeights:
    """Return the parameters of a layer with the gated delta rule as integers.

    Raises
    ------
    ModelError
        If one is too large, or a head's state would grow by itself.
    """
    return DeltaWeights(*_recurrent_weights(program, op))


def selective_weights(program: Program, op: SelectiveScan) -> SelectiveWeights:
    """Return the parameters of a selective scan as integers.

    Raises
    ------
    ModelError
        If one is too large, or a channel's state would grow by itself.
    """
    _check_states(program, op, op.decay)
    tensor, count = program.tensors[op.decay], op.channels * op.states
    decay = float_values(Tensor(tensor.name, tensor.kind, (count,), tensor.data), count, "decay")
    rate = _rates(program, op, decay).reshape(op.channels, op.states)
    return SelectiveWeights(rate, integer_bias(program, op.skip, 16))


def trapezoidal_weights(program: Program, op: TrapezoidalScan) -> TrapezoidalWeights:
    """Return the parameters of a trapezoidal scan as integers.

    Raises
    ------
    ModelError
        If the states are too many, or the slowest decay is none.
    """
    _check_states(program, op, op.skip)
    if not 0 < op.slowest <= 1:
        raise ModelError(f"the slowest decay of a trapezoidal scan lies in 0 to 1, found {op.slowest}")
    step_bias, skip = integer_bias(program, op.step_bias, PACE_FRACTION), integer_bias(program, op.skip, 16)
    b, c = (integer_bias(program, name, 16).reshape(op.heads, op.states) for name in (op.input_bias, op.output_bias))
    return TrapezoidalWeights(step_bias, b, c, skip, slowest_rate(op.slowest))


def _recurrent_weights(
    program: Program, op: Scan | GatedDelta
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the convolution's weights, dt_bias and the rates."""
    _check_states(program, op, op.decay)
    rate = _rates(program, op, bias_values(program, op.decay))
    return convolution_taps(program, op), integer_bias(program, op.step_bias, 16), rate


def room_values(program: Program, op: GatedRecurrence) -> NDArray[np.float32]:
    """Return what the lower bound of each channel's forget gate leaves, as float32.

    Raises
    ------
    ModelError
        If one is not from 0 to 1.
    """
    if op.room is None:
        return np.ones(op.channels, np.float32)
    values = bias_values(program, op.room)
    if not (values.min() >= 0 and values.max() <= 1):
        name, found = program.tensors[op.room].name, f"{values.min():.6g} to {values.max():.6g}"
        raise ModelError(f"tensor {name}: what bounds of a forget gate leave lies in 0 to 1, found {found}")
    return values


def integer_room(program: Program, op: GatedRecurrence) -> NDArray[np.int64]:
    """Return the same in Q30; errors as of that."""
    return np.floor(room_values(program, op).astype(np.float64) * ONE + 0.5).astype(np.int64)


def _check_states(program: Program, op: Scan | GatedDelta | SelectiveScan | TrapezoidalScan, parameter: str) -> None:
    """Raise if the sums over the columns of a state would pass their bounds; `parameter` names one of its tensors."""
    if op.states > MOST_STATES:
        tensor = program.tensors[parameter].name
        raise ModelError(
            f"tensor {tensor}: states of {op.states} columns pass the proven bounds, at most {MOST_STATES}"
        )


def _rates(program: Program, op: Scan | GatedDelta | SelectiveScan, decay: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return how fast states forget, in Q20 and base 2, from A of each."""
    tensor = program.tensors[op.decay].name
    rate = np.floor(-decay.astype(np.float64) * (LOG2E * 2.0 ** (RATE_FRACTION - 30)) + 0.5)
    if not (rate.min() >= 0 and rate.max() < RATE_LIMIT):
        raise ModelError(f"tensor {tensor}: decays lie in -709 to 0, found {decay.min():.6g} to {decay.max():.6g}")
    return rate.astype(np.int64)


def check_consecutive(program: Program, chunks: Sequence[SequenceChunk]) -> None:
    """Refuse trees of drafts for a program with a recurrent state, which only consecutive tokens lead on."""
    if any(chunk.parents is not None for chunk in chunks) and program.recurrent():
        raise ParameterError("a model with a recurrent state takes consecutive tokens or chains of drafts, no trees")


def check_whole(program: Program, chunks: Sequence[SequenceChunk]) -> None:
    """Refuse texts that an encoder cannot read: in parts, or longer than it has positions for."""
    most = min(
        (
            program.tensors[op.positions].shape[0] - op.first
            for op in program.ops
            if isinstance(op, Embed) and op.positions
        ),
        default=None,
    )
    for chunk in chunks:
        if program.is_encoder and (chunk.position or chunk.parents is not None):
            raise ParameterError("an encoder reads each text whole, in one chunk that begins at position 0")
        if most is not None and (end := chunk.position + len(chunk.tokens)) > most:
            raise ParameterError(f"the model has positions for {most} tokens, not for {end}")


def gather_index(program: Program, op: Gather) -> NDArray[np.int32]:
    """Return a gather's index, int32 (K,), from -1 on.

    Where the target has columns for what 8 bits leave of outliers (`with_outliers`), K counts them too.
    """
    inputs = read_inputs(program.tensors[op.weight].data)
    if inputs is None:
        raise ModelError(f"tensor {program.tensors[op.weight].name}: has no index of inputs to gather by")
    more = program.buffers[op.target].width - len(inputs.index)
    return np.concatenate([inputs.index, inputs.index[len(inputs.index) - more :]])


def scatter_columns(program: Program, op: Scatter) -> NDArray[np.int32]:
    """Return for each column of the target that of the source, int32, or -1 where nothing is copied."""
    return scatter_index(
        program.buffers[op.target].width,
        op.heads,
        op.width,
        source_step=op.source_step,
        source_start=op.source_start,
        target_step=op.target_step,
        target_start=op.target_start,
    )


class KeptInputs(NamedTuple):
    """The number of inputs of a product's rows that stay, their score's rule, and norms of columns where they count."""

    keep: int
    rule: str
    norms: NDArray[np.int32] | None


def kept_inputs(program: Program, op: Linear, profile: ProfileParts) -> KeptInputs | None:
    """Return what a profile leaves of a product's inputs; None if all of them."""
    if profile.sparsity is None:
        return None
    norms = None
    if profile.sparsity.rule == "wina":
        tensors = [program.tensors[target.weight] for target in op.targets]
        norms = column_norms(dequantize(t.kind, t.data, t.shape) for t in tensors)
    return KeptInputs(profile.sparsity.kept(program.buffers[op.source].width), profile.sparsity.rule, norms)


def check_embedding(name: str, largest_exponent: int) -> None:
    """Refuse an embedding whose scales would need a shift to the left."""
    if largest_exponent > 4:
        raise ModelError(f"tensor {name}: a scale of 2^{largest_exponent} and more is too large for an embedding")


def bias_values(program: Program, name: str) -> NDArray[np.float32]:
    """Return a bias as float32."""
    tensor = program.tensors[name]
    return float_values(tensor, tensor.shape[0], "bias")


def integer_bias(program: Program, name: str, fraction: int) -> NDArray[np.int64]:
    """Return a bias with so many fraction bits."""
    return fixed_bias(program.tensors[name], fraction)


def choice_bias(program: Program, op: Experts) -> NDArray[np.int64] | None:
    """Return what is added to the sigmoids or shares of experts where they are chosen, Q30; None for nothing."""
    return None if op.bias is None else integer_bias(program, op.bias, SIGMOID_FRACTION)


def expert_scales(program: Program, op: Experts) -> NDArray[np.int64] | None:
    """Return what the weights of experts are multiplied by, Q24; None for nothing.

    Raises
    ------
    ModelError
        If one is too large.
    """
    if op.scales is None:
        return None
    scales = integer_bias(program, op.scales, SCALE_FRACTION)
    if np.abs(scales).max() >= SCALE_LIMIT << SCALE_FRACTION:
        raise ModelError(f"tensor {op.scales}: weights of experts are multiplied by numbers below {SCALE_LIMIT}")
    return scales


def row_number(program: Program, op: Multiply) -> Fraction:
    """Return what a row is multiplied by."""
    return op.factor if op.weight is None else op.factor * Fraction(float(bias_values(program, op.weight)[0]))


def integer_multiplier(program: Program, op: Multiply) -> int:
    """Return the same in Q24.

    Raises
    ------
    ModelError
        If it is too large.
    """
    try:
        return row_multiplier(row_number(program, op))
    except ValueError as error:
        raise ModelError(f"tensor {op.weight}: {error}") from None


def fixed_bias(tensor: Tensor, fraction: int) -> NDArray[np.int64]:
    """Return a bias with so many fraction bits.

    Raises
    ------
    ModelError
        If a value is too large.
    """
    values = float_values(tensor, tensor.shape[0], "bias").astype(np.float64)
    if np.abs(values).max() >= 1 << 14:
        raise ModelError(f"tensor {tensor.name}: values of 16,384 and more do not fit fixed point")
    return np.floor(np.ldexp(values, fraction) + 0.5).astype(np.int64)


def integer_weight(tensor: Tensor, bits: int, outliers: int = 0) -> BlockWeight:
    """Return a matrix as an integer weight; floats get so many bits.

    Parameters
    ----------
    outliers : int
        Blocks of outliers, of which the matrix then multiplies what 8 bits leave too (`with_outliers`).

    Raises
    ------
    ModelError
        If it cannot be one.
    """
    shape = (tensor.shape[0], tensor.shape[1])
    try:
        if tensor.kind == INTEGER:
            weight = from_bytes(tensor.data)
            return with_rest(weight, outliers) if outliers else weight
        if tensor.kind in FLOAT_FORMATS:
            return from_floats(dequantize(tensor.kind, tensor.data, shape), bits)
        return from_blocks(tensor.kind, tensor.data, shape)
    except ModelError as error:
        raise ModelError(f"tensor {tensor.name}: {error}") from error


def integer_sinks(program: Program, name: str) -> NDArray[np.int64]:
    """Return the scores of attention sinks in base 2 and Q16."""
    return sink_scores(bias_values(program, name))


def check_experts(program: Program, parts: ProfileParts) -> None:
    """Refuse a profile that runs no mixtures of experts, for a program that has some."""
    if parts.for_linear_alone and any(isinstance(op, Experts) for op in program.ops):
        raise ParameterError("mixtures of experts run in the profiles int8 and fp32, and those of narrow activations")


def check_adapters(program: Program, parts: ProfileParts) -> None:
    """Refuse a profile that runs no adapters, for a program that has some."""
    if program.adapters and parts.for_linear_alone:
        raise ParameterError("adapters run in the profiles int8 and fp32, and those of narrow activations")


def input_scale(program: Program, op: Linear, parts: ProfileParts) -> FixedScale | None:
    """Return the scale of all rows that enter a product; None where each row has its own.

    Raises
    ------
    ParameterError
        If the profile needs one, and the model has none.
    """
    if not parts.scheme.static:
        return None
    if op.largest is None:
        name = program.tensors[op.targets[0].weight].name
        raise ParameterError(
            f"the profile {parts.scheme.name} needs a model with scales of its products' inputs, and {name} has none; "
            "intact quantize --static writes one"
        )
    return fixed_scale(float(float_values(program.tensors[op.largest], 1, "largest input")[0]))


def check_codec(program: Program, parts: ProfileParts) -> None:
    """Refuse a codec of the KV cache for a program whose heads it cannot hold."""
    if parts.codec is not None and not parts.codec.holds(program.head_width):
        raise ParameterError(
            f"the KV codec {parts.codec.name} holds heads whose width is a multiple of {GRANULE}; this model's are "
            f"{program.head_width} wide: load it without kv"
        )


def check_exchanges(program: Program, exchange: Exchanger | None) -> None:
    """Refuse a program that is cut for several processes where there is nothing to exchange by."""
    if exchange is None and any(isinstance(op, AllGather) for op in program.ops):
        raise ParameterError("this program is a part of one that several processes run: give `exchange`")


BUILD_TIERS = "To build every tier: INTACT_TIERS=all pip install --force-reinstall --no-deps ."
"""How a checkout's installation gets the tiers that it lacks."""


def choose_tier(available: Sequence[str], missing: Sequence[str] = ()) -> str:
    """Return the tier that INTACT_ISA names, else the best one.

    Parameters
    ----------
    available : sequence of str
        The tiers to choose from, best first.
    missing : sequence of str
        Tiers that this processor could run and that were not built.

    Raises
    ------
    ParameterError
        If INTACT_ISA names a tier that is unknown or not available.
    """
    chosen = os.environ.get("INTACT_ISA", "")
    if not chosen:
        return available[0]
    if chosen in missing:
        held = ", ".join(available)
        raise ParameterError(f"INTACT_ISA is {chosen}, which was not built ({held} were). {BUILD_TIERS}")
    if chosen not in available:
        raise ParameterError(
            f"INTACT_ISA must name a tier that this machine has ({', '.join(available)}), got {chosen!r}"
        )
    return chosen


def choose_pinned() -> bool:
    """Return true if INTACT_PIN is 1: each thread then stays on one processor."""
    chosen = os.environ.get("INTACT_PIN") or "0"
    if chosen not in ("0", "1"):
        raise ParameterError(f"INTACT_PIN must be 0 or 1, got {chosen!r}")
    return chosen == "1"


def choose_threads(threads: int | None) -> int:
    """Return the argument, else INTACT_THREADS, else the number of cores that this process may use."""
    value: object = os.environ.get("INTACT_THREADS") if threads is None else threads
    if value is None:
        return processors()
    try:
        count = int(str(value))
    except ValueError:
        count = 0
    if not 1 <= count <= 1024:
        source = "INTACT_THREADS" if threads is None else "threads"
        raise ParameterError(f"{source} must be an integer from 1 to 1024, got {value!r}")
    return count
