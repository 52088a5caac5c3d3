"""A model as a short list of typed operations on named row buffers; several executors run the one program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.numerics.delta import DeltaShape
from intact.numerics.experts import ExpertWeights
from intact.numerics.gate import Activation
from intact.numerics.scan import ScanShape
from intact.numerics.trapezoidal import TrapezoidalShape


@dataclass(frozen=True)
class Buffer:
    """A row vector between operations: `wide` ones (the residual stream) hold int64 in Q20, others int32 in Q16."""

    width: int
    wide: bool = False


@dataclass(frozen=True)
class Embed:
    """target = scale * weight[token] + positions[first + position] + bias.

    `positions` names a matrix with a row for each position, `bias` a row that is added to all; None: nothing is added.
    With a `separator`, a token, the rows of a text behind its first one get `second_bias` in place of `bias`.
    """

    target: str
    weight: str
    scale: Fraction = Fraction(1)
    positions: str | None = None
    first: int = 0
    bias: str | None = None
    second_bias: str | None = None
    separator: int | None = None


@dataclass(frozen=True)
class Norm:
    """RMSNorm of a row, or of each of `heads` slices; set, or added to the target where `accumulate`.

    A layer norm where it is `centered`: of a whole row less its mean, and with a `bias`, if any. With several `groups`
    each of so many runs of a row's columns is normed by itself, and the gain still has a value for each column; the
    gain of `heads` is one for all slices.
    The gain is the named tensor plus `offset` (Gemma's checkpoints store the gain less one), times `factor` (what
    Granite multiplies its logits by).
    """

    source: str
    target: str
    gain: str
    eps: float
    heads: int = 0
    accumulate: bool = False
    offset: float = 0.0
    factor: Fraction = Fraction(1)
    centered: bool = False
    bias: str | None = None
    groups: int = 1


@dataclass(frozen=True)
class Gather:
    """target[k] = source[index[k]], or 0 where index[k] is -1: the index of the named integer weight's inputs.

    The target is of the source's kind, wide or narrow, and has its fraction.
    """

    source: str
    target: str
    weight: str


@dataclass(frozen=True)
class Scatter:
    """Copy columns to the heads of another row, narrow both.

    target[h * target_step + target_start + i] = source[h * source_step + source_start + i] for each of `heads` heads
    and i < `width`: with a `source_step` of 0 all get the same. The target's other columns become 0, or stay as they
    are where `keep`.
    """

    source: str
    target: str
    heads: int
    width: int
    source_step: int = 0
    source_start: int = 0
    target_step: int = 0
    target_start: int = 0
    keep: bool = False


@dataclass(frozen=True)
class Hadamard:
    """target = H source for each block of `size` columns, H the Hadamard matrix of that size.

    The target is wide in memory, with the source's fraction.
    """

    source: str
    target: str
    size: int


@dataclass(frozen=True)
class Multiply:
    """target = number * source[start : start + the target's width], in place where both are the same buffer.

    The source is wide and has 20 bits of fraction; the target is wide or narrow. The number is `factor`, times the
    value of the named tensor of one value where there is one (Gemma 4's layers end with it).
    """

    source: str
    target: str
    weight: str | None = None
    factor: Fraction = Fraction(1)
    start: int = 0


@dataclass(frozen=True)
class Target:
    """One matrix of a Linear and the buffer of its result: set, or added where `accumulate`."""

    buffer: str
    weight: str
    bias: str | None = None
    accumulate: bool = False


@dataclass(frozen=True)
class Linear:
    """Products of one row with several matrices, so that the row is quantised once.

    `largest` names a tensor of one number, the largest size of the source on a text, from which profiles of static
    activations take their scale (`intact.models.input_limits`).
    """

    source: str
    targets: tuple[Target, ...]
    largest: str | None = None


@dataclass(frozen=True)
class LowRank:
    """An adapter's change of one matrix, up down x: `down` has the matrix's inputs, `up` its outputs."""

    down: str
    up: str


@dataclass(frozen=True)
class Adapt:
    """target += up (down source) in the rows of sequences with an adapter: by its number, None where it has none."""

    source: str
    target: str
    changes: tuple[LowRank | None, ...]


@dataclass(frozen=True)
class Steer:
    """target += vector in the rows of sequences with an adapter: by its number, None where it adds nothing here."""

    target: str
    vectors: tuple[str | None, ...]


@dataclass(frozen=True)
class AllGather:
    """target = the columns of all ranks side by side, set, or added to the target where `accumulate`.

    It is part of programs that are cut for several processes (`intact.library.parallel`), never of a model's own. The
    source holds this rank's columns, and is None where it has none; `widths` has the number of columns of each rank.
    Both buffers have the fraction of their kind, 16 or 20 bits.
    """

    source: str | None
    target: str
    widths: tuple[int, ...]
    accumulate: bool = False


@dataclass(frozen=True)
class Rope:
    """Rotary embedding in place; pairs are neighbours where `interleaved`, else half a head apart."""

    buffer: str
    rotation: int
    heads: int
    width: int
    interleaved: bool


@dataclass(frozen=True)
class Attend:
    """Attention; appends key and value to the cache first.

    Rows see the positions of their text up to their own where it is `causal`, else all, and a text is one chunk then.
    `window` limits the visible positions (0: all); scores pass a soft `cap` (0: none). `sinks` names a tensor with a
    score of each head that takes part in the softmax, without a value.
    """

    query: str
    key: str
    value: str
    target: str
    layer: int
    heads: int
    kv_heads: int
    width: int
    scale: Fraction
    window: int = 0
    cap: Fraction = Fraction(0)
    sinks: str | None = None
    causal: bool = True


@dataclass(frozen=True)
class Convolve:
    """Gated causal convolution of each channel over the last positions; appends a row to the cache first.

    The source holds the parts B, C and x of `width` channels each. The cached row is u = B * x, and
    target = C * sum over j < `taps` of weight[:, taps - 1 - j] * u[position - j]; rows before the text are 0. `layer`
    counts the convolutions of a program, each of which has its part of the cache.
    """

    source: str
    target: str
    weight: str
    layer: int
    width: int
    taps: int


@dataclass(frozen=True)
class ConvolveSilu:
    """Causal convolution of each channel over the last positions, and SiLU; appends a row to the cache first.

    target = SiLU(sum over j < `taps` of weight[:, taps - 1 - j] * source[position - j], plus `bias` where there is
    one), narrow both; rows before the text are 0. `layer` counts the convolutions of a program, as that of a
    `Convolve`.
    """

    source: str
    target: str
    weight: str
    bias: str | None
    layer: int
    width: int
    taps: int


Convolution: TypeAlias = Convolve | ConvolveSilu
"""Convolutions that have a part of the cache of their own."""


@dataclass(frozen=True)
class Scan:
    """The state-space layer of Mamba-2 (arXiv 2405.21060); appends a row to the cache first.

    The source holds x (`heads` times `width` channels), B and C (`groups` times `states` columns each), which pass a
    causal convolution over `taps` positions and SiLU; `steps` holds dt, a number for each head. A head's state follows
    ``S = exp(dt A) S + dt x B^T``, and the target is ``S C + D x``. Tensors: `weight` and `bias` (none where None) of
    the convolution, `step_bias` added to dt before softplus, `decay` with A (negative) and `skip` with D of each head.
    Heads share B and C in groups. `layer` counts the recurrent layers of a program, each of which has its part of the
    cache: the rows, and the state at the end of each block of 64 positions.
    """

    source: str
    steps: str
    target: str
    weight: str
    bias: str | None
    step_bias: str
    decay: str
    skip: str
    layer: int
    heads: int
    width: int
    groups: int
    states: int
    taps: int

    @property
    def shape(self) -> ScanShape:
        """Its sizes, as the arithmetic has them."""
        return ScanShape(self.heads, self.width, self.groups, self.states)


@dataclass(frozen=True)
class GatedDelta:
    """The gated delta rule (arXiv 2412.06464); appends a row to the cache first.

    The source holds queries and keys (`groups` heads of `states` columns each) and values (`heads` of `width`), which
    pass a causal convolution over `taps` positions and SiLU; queries and keys are then of unit length. `steps` holds dt
    and `beta` b, a number for each head. A head's state follows ``S = exp(dt A) S``, ``S += k (sigmoid(b) (v - S^T
    k))^T``, and the target is ``S^T q``. Tensors: `weight` of the convolution, `step_bias` added to dt before softplus,
    and `decay` with A (negative) of each head. Head h reads key h mod `groups` where `tiled`, else consecutive heads
    share one. `layer` counts the recurrent layers of a program, as that of a `Scan`.
    """

    source: str
    steps: str
    beta: str
    target: str
    weight: str
    step_bias: str
    decay: str
    layer: int
    heads: int
    width: int
    groups: int
    states: int
    taps: int
    tiled: bool = False

    @property
    def shape(self) -> DeltaShape:
        """Its sizes, as the arithmetic has them."""
        return DeltaShape(self.heads, self.width, self.groups, self.states, self.tiled)


@dataclass(frozen=True)
class SelectiveScan:
    """The selective scan of Mamba (arXiv 2312.00752); appends a row to the cache first.

    The source holds x, a number for each of `channels`, `steps` dt of each, and `input` and `output` hold B and C, of
    `states` columns each. The states of channel c follow ``h[n] = exp(dt A[c, n]) h[n] + dt B[n] x``, dt behind
    softplus, and the target is the sum of ``C[n] h[n]`` plus ``D x``. Tensors: `decay` with A (negative; channels,
    states) and `skip` with D of each channel. `layer` counts the recurrent layers of a program, as that of a `Scan`;
    its part of the cache has the rows, and the states behind each block of 64 positions.
    """

    source: str
    steps: str
    input: str
    output: str
    target: str
    decay: str
    skip: str
    layer: int
    channels: int
    states: int


@dataclass(frozen=True)
class GatedRecurrence:
    """The gated recurrence of HGRN (arXiv 2311.04823); appends a row to the cache first.

    The source holds i and `forget` the forget gate before its sigmoid, a number for each of `channels`. A channel's
    state follows ``h = f h + (1 - f) silu(i)`` with ``f = b + (1 - b) sigmoid(forget)``, and the target is h. `room`
    names a tensor with 1 - b of each channel, from 0 to 1; None: b is 0. `layer` counts the recurrent layers of a
    program, as that of a `Scan`; its part of the cache has the rows, and the states behind each block of 64 positions.
    """

    source: str
    forget: str
    target: str
    room: str | None
    layer: int
    channels: int


@dataclass(frozen=True)
class TrapezoidalScan:
    """The trapezoidal scan of Mamba-3 (state-spaces/mamba, `mamba3.py`, one input and output); appends a row first.

    The source holds x (`heads` times `width` channels), `input` and `output` hold B and C behind their norms (`groups`
    times `states` columns each), and `controls` dt, A and the share of each head, then `angles` numbers. With dt behind
    softplus, A behind ``-t`` (t is 1 + a for a >= 0, else 1 / (1 - a), at least `slowest`), the share l behind a
    sigmoid, and keys k and queries q, which are B and C plus a bias of each head whose first `angles` pairs of
    neighbours are turned by the sum of ``pi tanh(angle) dt`` so far, a head's state follows ``S = exp(dt A) (S + (1 -
    l) dt k' x') + l dt k x``, those of the position before with a prime, and the target is ``S q + D x``. Tensors:
    `step_bias` added to dt, `input_bias` and `output_bias` to B and C (heads times states), and `skip` with D of each
    head. Heads share B and C in groups. `layer` counts the recurrent layers of a program, as that of a `Scan`; its part
    of the cache has the rows, and the states behind each block of 64 positions.
    """

    source: str
    input: str
    output: str
    controls: str
    target: str
    step_bias: str
    input_bias: str
    output_bias: str
    skip: str
    slowest: float
    layer: int
    heads: int
    width: int
    groups: int
    states: int
    angles: int

    @property
    def shape(self) -> TrapezoidalShape:
        """Its sizes, as the arithmetic has them."""
        return TrapezoidalShape(self.heads, self.width, self.groups, self.states, self.angles)


Recurrent: TypeAlias = Scan | GatedDelta | SelectiveScan | GatedRecurrence | TrapezoidalScan
"""Layers whose state leads from one position to the next; trees of drafts cannot pass them."""


@dataclass(frozen=True)
class Gate:
    """target = activation(gate) * up, or activation(gate) where `up` is None."""

    gate: str
    up: str | None
    target: str
    kind: Activation


@dataclass(frozen=True)
class Expert:
    """The matrices of one gated feed-forward net, and their biases, if any.

    `gate` is `up` where there is no gate: with ReLU the net then squares what is positive.
    """

    gate: str
    up: str
    down: str
    gate_bias: str | None = None
    up_bias: str | None = None
    down_bias: str | None = None


@dataclass(frozen=True)
class Experts:
    """A mixture of gated feed-forward nets: each row passes the `used` ones with the largest scores.

    target = sum of weight * down(activation(gate source) * (up source)) over them, or added to the target where
    `accumulate`. Among equal scores those of least number are chosen. The weights follow from the scores as `weights`
    says, times `factor`, and times the expert's number in the tensor that `scales` names, if any. `bias` names a tensor
    with a number for each expert: those are chosen then for which the sum of number and sigmoid of the score, or where
    the weights are a softmax number and share of a softmax over all, is largest. A row passes experts of the
    `groups_used` best of `groups` alone: of consecutive experts, by their largest score, or with a bias by the sum of
    their two largest sums.
    """

    source: str
    scores: str
    target: str
    experts: tuple[Expert, ...]
    used: int
    hidden: int
    kind: Activation
    weights: ExpertWeights
    factor: Fraction = Fraction(1)
    accumulate: bool = False
    bias: str | None = None
    groups: int = 1
    groups_used: int = 1
    scales: str | None = None


@dataclass(frozen=True)
class Logits:
    """The head, computed only for the rows that are asked for; logits pass a soft `cap` (0: none).

    Without a weight there are no logits: what enters the head is kept, as of any (`Executor.head_inputs`).
    """

    source: str
    weight: str | None
    cap: Fraction = Fraction(0)


Op: TypeAlias = (
    Embed
    | Norm
    | Gather
    | Scatter
    | Hadamard
    | Multiply
    | Linear
    | Adapt
    | Steer
    | AllGather
    | Rope
    | Attend
    | Convolve
    | ConvolveSilu
    | Scan
    | GatedDelta
    | SelectiveScan
    | GatedRecurrence
    | TrapezoidalScan
    | Gate
    | Experts
    | Logits
)


@dataclass(frozen=True)
class Program:
    """Operations, the buffers and tensors that they name, and the shape of the KV cache.

    Attributes
    ----------
    layers : int
        Attentions, each with its part of the cache.
    rotations : arrays of uint64
        For each kind of rotary layer the frequencies as 64-bit fractions of a turn (`intact.numerics.rope.turns`).
    context : int
        The most positions that the model was made for.
    rotation_factors : tuple of Fraction
        For each rotation what its sines and cosines are multiplied by, below 7/4 (YaRN, longrope); empty: all by 1.
    adapters : tuple of str
        Names of the adapters, by number (`intact.models.adapters`).
    """

    architecture: str
    buffers: Mapping[str, Buffer]
    ops: tuple[Op, ...]
    tensors: Mapping[str, Tensor]
    rotations: tuple[NDArray[np.uint64], ...]
    layers: int
    kv_heads: int
    head_width: int
    vocabulary: int
    context: int
    rotation_factors: tuple[Fraction, ...] = ()
    adapters: tuple[str, ...] = ()

    @property
    def is_encoder(self) -> bool:
        """True if rows see what follows them: a text is read whole, and none is written."""
        return any(isinstance(op, Attend) and not op.causal for op in self.ops)

    @property
    def head_weight(self) -> str:
        """The matrix of the head.

        Raises
        ------
        ParameterError
            If the program has none: it is an encoder.
        """
        head = next(op for op in self.ops if isinstance(op, Logits))
        if head.weight is None:
            raise ParameterError(f"a model of the architecture {self.architecture} is an encoder, which has no logits")
        return head.weight

    def convolutions(self) -> list[Convolution]:
        """Return the convolutions, in order of the parts of the cache that they have."""
        return [op for op in self.ops if isinstance(op, Convolution)]

    def recurrent(self) -> list[Recurrent]:
        """Return the recurrent layers, in order of the parts of the cache that they have."""
        return [op for op in self.ops if isinstance(op, Recurrent)]

    def ropes(self) -> dict[str, Rope]:
        """Return the rotations of positions, by the buffers that they turn."""
        return {op.buffer: op for op in self.ops if isinstance(op, Rope)}

    def factors(self) -> tuple[Fraction, ...]:
        """Return the factor of each rotation."""
        return self.rotation_factors or (Fraction(1),) * len(self.rotations)
