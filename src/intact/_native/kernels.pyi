# Written by scripts/native_stubs.py with nanobind 3.1.0; do not edit.
# fmt: off
# ruff: noqa
"""Every kernel of every tier, one call each."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy
from numpy.typing import NDArray

import intact._native


def has_product(bits: int, block: int, table: bool) -> bool:
    """
    Whether there is a product for codes of so many bits in such blocks, with a table or without.
    """

def tiers() -> list[str]:
    """Names of the tiers that this build and this machine have, best first."""

def faster_tier() -> str | None:
    """
    The first missing tier if it is faster than all that this build has, else None.
    """

def missing_tiers() -> list[str]:
    """
    Names of the tiers that this machine could run and this build lacks, best first.
    """

def entry_points(tier: str) -> dict[str, Any]:
    """Addresses of a tier's kernels."""

def limits(tier: str, threads: int) -> tuple[float, float]:
    """
    Products of a thread, and bytes that all threads read from memory, a second.
    """

def meet(threads: int, regions: int, meetings: int, failing: int = -1, thread: int = 0, after: int = 0, catching: bool = False, pinned: bool = False) -> int: ...

def pieces(threads: int, total: int, least: int, held: int = -1) -> list[list[tuple[int, int]]]: ...

class Rows:
    """
    Quantised rows (docs/spec/numerics.md, section 3); sums are those of 16 codes.
    """

    @property
    def codes(self) -> NDArray[numpy.int8]: ...

    @property
    def scale(self) -> NDArray[numpy.int32]: ...

    @property
    def sums(self) -> NDArray[numpy.int32]: ...

    @property
    def exponent(self) -> NDArray[numpy.int32]: ...

    @property
    def minima32(self) -> NDArray[numpy.int16]: ...

    @property
    def minima16(self) -> NDArray[numpy.int16]: ...

    @property
    def minima32_exp(self) -> NDArray[numpy.int32]: ...

    @property
    def minima16_exp(self) -> NDArray[numpy.int32]: ...

def quantize(tier: str, x: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], fraction: int) -> Rows:
    """Quantise narrow rows (M, K)."""

def quantize_wide(tier: str, x: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], fraction: int = 20) -> Rows:
    """Quantise wide rows (M, K)."""

def quantize_to(tier: str, x: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], fraction: int, largest: int, step_bits: int, mantissa: int, power: bool, whole_row: bool) -> Rows:
    """Quantise wide rows (M, K) on another grid."""

def sparsify(tier: str, rows: Rows, columns: int, keep: int, norms: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, random: bool) -> None:
    """Set all but the inputs of the largest scores to zero, in place."""

def hadamard(tier: str, x: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], size: int) -> NDArray[numpy.int64]:
    """Rotate blocks of rows (M, K)."""

def weight(rows: int, columns: int, bits: int, block: int, zero: int, shift: int, table: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, codes: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], scales: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)], minima: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, scale_exp: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], minimum_exp: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None) -> intact._native.Weight:
    """Make a weight of any integers from its panels."""

def matmul(tier: str, weight: intact._native.Weight, x: Rows, out: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu')], fraction: int, bias: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None = None, rows: tuple[int, int] | None = None, panels: tuple[int, int] | None = None, times: int = 1) -> None:
    """
    Multiply rows by panels into a narrow out (M, N or more): int32, saturated; `times` over, for timing.
    """

def matmul_wide(tier: str, weight: intact._native.Weight, x: Rows, out: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')], fraction: int = 20, accumulate: bool = False, bias: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None = None, rows: tuple[int, int] | None = None, panels: tuple[int, int] | None = None) -> None:
    """
    Multiply rows by panels into a wide out (M, N or more): int64, set or added to.
    """

def norm(tier: str, x: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], factor: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], exponent: int, epsilon: int) -> NDArray[Any]:
    """Norm of a wide row, with 30 - exponent fraction bits."""

def norm_wide(tier: str, x: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], factor: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], exponent: int, epsilon: int, out: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')], accumulate: bool) -> None:
    """Norm of a wide row in Q20, set or added to `out`."""

def norm_head(tier: str, x: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], factor: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], exponent: int, epsilon: int) -> NDArray[numpy.int32]:
    """Norm of a head in Q16."""

def sine_cosine(tier: str, position: int, turns: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> tuple[Any, ...]: ...

def rotate(tier: str, head: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], sine: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], cosine: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], interleaved: bool) -> NDArray[numpy.int32]: ...

def gate(tier: str, gate: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], up: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], kind: int) -> NDArray[numpy.int64]:
    """kind counts numerics.gate.GATES."""

def sigmoid(tier: str, x: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> NDArray[numpy.int32]: ...

def choose_experts(tier: str, scores: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], used: int, weights: int, factor: int, bias: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None = None, groups: int = 1, groups_used: int = 1, scale: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None = None) -> NDArray[numpy.int32]:
    """Experts and weights of a row (used, 2)."""

def soft_cap(tier: str, x: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], slope: int, limit: int) -> NDArray[numpy.int32]: ...

def add_scaled(tier: str, x: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], y: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], factor: int) -> NDArray[numpy.int64]: ...

def weights(tier: str, logits: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], slope: int) -> tuple[Any, ...]:
    """Unnormalised probabilities in Q30 before the filters, and their sum."""

def masses(tier: str, logits: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], slope: int) -> tuple[Any, ...]:
    """Sums of runs of 512 weights, and of all."""

def draw(tier: str, logits: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], draw: tuple[int, tuple[int, int, int, int, int], int, int, tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], int, Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], int, int, Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]] | None, Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None]) -> int: ...

def top(tier: str, logits: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], k: int) -> NDArray[numpy.int32]: ...

def log_probability(tier: str, logits: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], token: int) -> int: ...

class Cache:
    """Keys and values of one layer and KV head."""

    def __init__(self, width: int, page_size: int) -> None: ...

    def append(self, tier: str, key: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], value: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], position: int) -> None: ...

    def attend(self, tier: str, queries: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], first: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], last: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], mantissa: int, exponent: int, cuts: Sequence[int] = [], cap: tuple[int, int] = (0, 0), sink: int | None = None) -> NDArray[numpy.int32]:
        """
        Attend; first and last are the visible positions of each query, cuts where segments end.
        """
