"""The interface between engine and executors: KV cache pages, steps over chunks of tokens, and token draws."""

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
"""Runs an AllGather: given this rank's columns (rows, columns) or None, it sets the target's rows or adds to them.

Rows are int32, int64 or float32, depending on the executor. The callback must not keep a reference to either array.
"""


class Executor(Protocol):
    """Runs a Program. Equal inputs give equal bits with every executor and any settings."""

    page_size: int
    profile: Profile
    bits: int
    """Number of bits per code for matrices that the checkpoint stores as floats."""
    trees: bool
    """If true, chunks may be trees of drafts."""
    layout: str
    """Name and version of the layout of keys and values in pages; the same on every tier."""

    @property
    def page_bytes(self) -> int:
        """Size of a page in bytes."""

    @property
    def description(self) -> dict[str, object]:
        """The executor, tier and number of threads in use."""

    @property
    def saturated(self) -> int:
        """Number of recurrent-state values that have saturated so far, counted over this process's layers."""

    def close(self) -> None:
        """Free weights, pages and threads; the executor cannot be used afterwards."""

    def reserve_pages(self, count: int) -> None:
        """Allocate pages until there are at least `count`."""

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page onto another."""

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Return a copy of a page's bytes, uint8 (page_bytes,), in the format named by `layout`."""

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Overwrite a page with bytes that `read_page` returned, from any executor with the same layout and program."""

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Copy the contents of slots `sources` of a sequence with these pages to slots `targets`.

        Both are in ascending order, and no target is larger than its source. This makes the accepted path of a tree
        consecutive.
        """

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run the tokens of all chunks; return the logits of the wanted rows in Q16, int32 (wanted, vocabulary).

        The array may be a view of memory that the next step overwrites; copy it if it must be kept longer.
        """

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Like `step`, but return float32: the logits themselves in the fp32 profile, scaled integers otherwise."""

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's inputs for some rows of the last step's logits, as bytes (rows, bytes of a row).

        They consist of codes, scales and exponent in the integer profiles (`numerics.activations.to_bytes`), and of
        floats in fp32.
        """

    def draw(self, logits: NDArray[np.int32], draws: Sequence[Draw]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw tokens; return them with their log-probabilities (Q24) according to the logits before edits and filters.

        A draw whose edits and mask allow no token returns -1 and a log-probability of 0.
        """

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the k most likely tokens of some rows, ties by lowest id: tokens and log-probabilities, (m, k)."""

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """Return only the tokens of `top`, which is cheaper."""

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the log-probability (nats, Q24) of one token of each row."""


def fixed_logits(logits: NDArray[np.float32]) -> NDArray[np.int32]:
    """Convert float logits to Q16, rounded half up and saturated: the fp32 profile samples from these."""
    limit = float((1 << 31) - 1)
    return np.clip(np.floor(logits.astype(np.float64) * 65536 + 0.5), -limit, limit).astype(np.int32)


def state_slots(page_size: int) -> int:
    """Return the number of recurrent states per page: one for each block that ends in it."""
    return -(-page_size // BLOCK)


def check_program(program: Program, profile: ProfileParts, exchange: Exchanger | None) -> None:
    """Raise if the profile cannot run the program, or if a program split between processes has no exchange.

    Raises
    ------
    ParameterError
        If an operation does not support the profile, or needs an exchange.
    """
    if exchange is None and any(op.exchanges for op in program.ops):
        raise ParameterError("this program is a part of one that several processes run: give `exchange`")
    if program.adapters and profile.for_linear_alone:
        raise ParameterError("adapters run in the profiles int8 and fp32, and those of narrow activations")
    for op in program.ops:
        op.check_profile(program, profile)


def check_consecutive(program: Program, chunks: Sequence[SequenceChunk]) -> None:
    """Reject trees of drafts for programs with a recurrent state, which can only advance by consecutive tokens."""
    if any(chunk.parents is not None for chunk in chunks) and program.recurrent():
        raise ParameterError("a model with a recurrent state takes consecutive tokens or chains of drafts, no trees")


def check_whole(program: Program, chunks: Sequence[SequenceChunk]) -> None:
    """Reject sequences that an encoder cannot process: partial ones, and ones longer than its number of positions."""
    most = program.most_tokens
    for chunk in chunks:
        if program.is_encoder and (chunk.position or chunk.parents is not None):
            raise ParameterError("an encoder reads each text whole, in one chunk that begins at position 0")
        if most is not None and chunk.end > most:
            raise ParameterError(f"the model has positions for {most} tokens, not for {chunk.end}")


BUILD_TIERS = "To build every tier: INTACT_TIERS=all pip install --force-reinstall --no-deps ."
"""Instructions for adding missing tiers to an installation built from a checkout."""


def choose_tier(available: Sequence[str], missing: Sequence[str] = ()) -> str:
    """Return the tier named by INTACT_ISA, or the best available tier if it is unset.

    Parameters
    ----------
    available : sequence of str
        The tiers to choose from, best first.
    missing : sequence of str
        Tiers that this processor supports but that were not built.

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
    """Return true if INTACT_PIN is 1, which pins each thread to one processor."""
    chosen = os.environ.get("INTACT_PIN") or "0"
    if chosen not in ("0", "1"):
        raise ParameterError(f"INTACT_PIN must be 0 or 1, got {chosen!r}")
    return chosen == "1"


def choose_threads(threads: int | None) -> int:
    """Return the argument if given, otherwise INTACT_THREADS, otherwise the number of available cores."""
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
