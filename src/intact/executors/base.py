"""What the engine asks of an executor: pages of a KV cache, steps over chunks of tokens, draws."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from intact.errors import ModelError, ParameterError
from intact.models.decoder import float_values
from intact.models.program import Norm, Program, Target
from intact.numerics.norm import Gain, make_gain
from intact.numerics.sampling import Draw

Profile = Literal["int8", "fp32"]
PROFILES = ("int8", "fp32")
LOGIT_FRACTION = 16


TREE_ROWS = 64


class Chunk(NamedTuple):
    """Tokens of one sequence, and the sequence's pages in order. Row i is kept in slot `position` + i of the pages.

    Attributes
    ----------
    parents : int32, optional
        None for consecutive tokens. Else the rows are a tree of drafts, at most 64: parents[i] < i is the row that row
        i follows, -1 the text before the chunk. A row has the position that it would have if its ancestors alone stood
        before it, and sees these and the text before the chunk.
    """

    position: int
    tokens: NDArray[np.int32]
    pages: NDArray[np.int32]
    parents: NDArray[np.int32] | None = None


class Executor(Protocol):
    """Runs a Program. Equal inputs give equal bits, whatever the executor and its settings."""

    page_size: int
    profile: Profile
    bits: int
    """Of codes of matrices that the checkpoint stores as floats."""
    trees: bool
    """Whether chunks may be trees."""

    @property
    def page_bytes(self) -> int:
        """Bytes of a page."""

    @property
    def description(self) -> dict[str, object]:
        """What is in use: executor, tier, threads."""

    def reserve_pages(self, count: int) -> None:
        """Have at least so many pages."""

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page onto another."""

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Copy what slots `sources` of a sequence with these pages keep to slots `targets`.

        Both ascend, and no target is larger than its source: so the path that was accepted of a tree moves together.
        """

    def step(self, chunks: Sequence[Chunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run the tokens of all chunks; logits in Q16, int32 (wanted, vocabulary), of the wanted rows of the step.

        The array may be a view of memory that the next step writes again: copy what must outlive it.
        """

    def step_float(self, chunks: Sequence[Chunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same as float32: the logits themselves in the fp32 profile, a view of the integers otherwise."""

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """What entered the head for some rows of the last step's logits, as bytes (rows, bytes of a row).

        Of the int8 profile codes, scales and exponent (`numerics.activations.to_bytes`); of fp32 the floats.
        """

    def draw(self, logits: NDArray[np.int32], draws: Sequence[Draw]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens, and their log-probabilities (Q24) by the logits as they are, before edits and filters.

        A draw whose edits and mask leave no token gives -1, and a log-probability of 0.
        """

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The k largest logits of some rows, of equals the least id first: tokens (m, k), log-probabilities (m, k)."""

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """The tokens of `top` alone, which costs less."""

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Log-probabilities (nats, Q24) of one token of each row."""


def fixed_logits(logits: NDArray[np.float32]) -> NDArray[np.int32]:
    """Float logits as Q16, rounded half up and saturated: what the fp32 profile samples from."""
    limit = float((1 << 31) - 1)
    return np.clip(np.floor(logits.astype(np.float64) * 65536 + 0.5), -limit, limit).astype(np.int32)


def embed_multiplier(scale: Fraction) -> int:
    """The embedding's factor in Q24."""
    return int(scale * (1 << 24) + Fraction(1, 2))


def gain_values(program: Program, op: Norm) -> NDArray[np.float32]:
    """A norm's gain as float32."""
    tensor = program.tensors[op.gain]
    values = float_values(tensor, tensor.shape[0], "gain")
    return values + np.float32(op.offset) if op.offset else values


def integer_gain(program: Program, op: Norm) -> Gain:
    """A norm's gain as integers, checked against the bounds of the sums."""
    gain = make_gain(gain_values(program, op), op.eps)
    if not -20 <= gain.exponent <= 30:
        name, size = program.tensors[op.gain].name, f"2^{gain.exponent}"
        raise ModelError(f"tensor {name}: the largest gain times sqrt(n) is {size}, beyond what fixed point holds")
    return gain


def check_embedding(name: str, largest_exponent: int) -> None:
    """Refuse an embedding whose scales would need a shift to the left."""
    if largest_exponent > 4:
        raise ModelError(f"tensor {name}: a scale of 2^{largest_exponent} and more is too large for an embedding")


def bias_values(program: Program, target: Target) -> NDArray[np.float32]:
    """A bias as float32."""
    tensor = program.tensors[str(target.bias)]
    return float_values(tensor, tensor.shape[0], "bias")


def integer_bias(program: Program, target: Target) -> NDArray[np.int64]:
    """A bias with the fraction bits of its target's buffer."""
    fraction = 20 if program.buffers[target.buffer].wide else 16
    values = bias_values(program, target).astype(np.float64)
    if np.abs(values).max() >= 1 << 14:
        raise ModelError(
            f"tensor {program.tensors[str(target.bias)].name}: values of 16,384 and more do not fit fixed point"
        )
    return np.floor(np.ldexp(values, fraction) + 0.5).astype(np.int64)


def choose_tier(available: Sequence[str]) -> str:
    """INTACT_ISA, or the best of the tiers that this machine has.

    Raises
    ------
    ParameterError
        If INTACT_ISA names a tier that is unknown or not available.
    """
    wish = os.environ.get("INTACT_ISA", "")
    if not wish:
        return available[0]
    if wish not in available:
        raise ParameterError(
            f"INTACT_ISA must name a tier that this machine has ({', '.join(available)}), got {wish!r}"
        )
    return wish


def choose_pinned() -> bool:
    """Whether INTACT_PIN asks for threads that stay on a processor of their own."""
    wish = os.environ.get("INTACT_PIN") or "0"
    if wish not in ("0", "1"):
        raise ParameterError(f"INTACT_PIN must be 0 or 1, got {wish!r}")
    return wish == "1"


def choose_threads(threads: int | None) -> int:
    """The argument, else INTACT_THREADS, else the cores this process may use."""
    value: object = os.environ.get("INTACT_THREADS") if threads is None else threads
    if value is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        count = int(str(value))
    except ValueError:
        count = 0
    if not 1 <= count <= 1024:
        source = "INTACT_THREADS" if threads is None else "threads"
        raise ParameterError(f"{source} must be an integer from 1 to 1024, got {value!r}")
    return count
