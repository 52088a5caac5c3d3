"""The interface between engine and executors: pages of a KV cache, steps over chunks of tokens, draws."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact._base.system import processors
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import (
    AllGather,
)
from intact.models.program import Program
from intact.numerics.profiles import Profile, ProfileParts
from intact.numerics.sampling import Draw
from intact.numerics.scan import BLOCK

Exchanger: TypeAlias = Callable[[AllGather, NDArray[Any] | None, NDArray[Any]], None]
"""Runs an AllGather: given this rank's columns (rows, columns) or None, it sets the target's rows, or adds to them.

Rows are int32, int64 or float32, as executors have them. It keeps neither array.
"""


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


def state_slots(page_size: int) -> int:
    """Return the states that a page has room for: those behind the blocks that end in it."""
    return -(-page_size // BLOCK)


def check_program(program: Program, profile: ProfileParts, exchange: Exchanger | None) -> None:
    """Raise if a profile cannot run a program, or if the program is one of several processes' and has no exchange.

    Raises
    ------
    ParameterError
        If an operation does not run in the profile, or needs an exchange.
    """
    if exchange is None and any(op.exchanges for op in program.ops):
        raise ParameterError("this program is a part of one that several processes run: give `exchange`")
    if program.adapters and profile.for_linear_alone:
        raise ParameterError("adapters run in the profiles int8 and fp32, and those of narrow activations")
    for op in program.ops:
        op.check_profile(program, profile)


def check_consecutive(program: Program, chunks: Sequence[SequenceChunk]) -> None:
    """Refuse trees of drafts for a program with a recurrent state, which only consecutive tokens lead on."""
    if any(chunk.parents is not None for chunk in chunks) and program.recurrent():
        raise ParameterError("a model with a recurrent state takes consecutive tokens or chains of drafts, no trees")


def check_whole(program: Program, chunks: Sequence[SequenceChunk]) -> None:
    """Refuse texts that an encoder cannot read: in parts, or longer than it has positions for."""
    most = program.most_tokens
    for chunk in chunks:
        if program.is_encoder and (chunk.position or chunk.parents is not None):
            raise ParameterError("an encoder reads each text whole, in one chunk that begins at position 0")
        if most is not None and chunk.end > most:
            raise ParameterError(f"the model has positions for {most} tokens, not for {chunk.end}")


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
