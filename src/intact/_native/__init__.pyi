# Written by scripts/native_stubs.py with nanobind 3.1.0; do not edit.
# fmt: off
# ruff: noqa
"""Native executor of intact."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy
from numpy.typing import NDArray

from intact._native import fp32 as fp32, kernels as kernels


def factor_upper(h: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], threads: int = 1) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """
    Return R, unit upper triangular, and D with H = R diag(D) RT; H's upper triangle is read.
    """

def round_columns(original: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], step: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], offset: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], r: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], d: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], levels: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], even: bool, threads: int = 1) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """
    Round columns one after the other; return the levels, and for each row the sum of d * error^2.
    """

def descend(start: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], wanted: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], step: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], offset: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], low: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], high: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], h: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], levels: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)], even: bool, sweeps: int, threads: int = 1) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """
    Lower the errors of rows' products level by level; return the levels and errors.
    """

class Weight:
    """
    A matrix of integer codes and int16 scales, packed into panels of 16 outputs.
    """

    @property
    def rows(self) -> int: ...

    @property
    def columns(self) -> int: ...

    @property
    def bits(self) -> int: ...

    @property
    def block(self) -> int: ...

    @property
    def zero(self) -> int: ...

    @property
    def shift(self) -> int: ...

    @property
    def has_minimum(self) -> bool: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def scale_form(self) -> object:
        """
        Return how scales are stored: factors a block (0 or 1), and the inputs that share one of int16.
        """

    @property
    def minimum_form(self) -> object:
        """Return the same of minima."""

    @property
    def table(self) -> object: ...

    def unpack(self) -> tuple[Any, ...]:
        """
        Return codes (N, Kpad), scale, scale_exp, minimum and minimum_exp, row-major.
        """

    def row(self, n: int) -> tuple[Any, ...]:
        """Return T[code] - zero (Kpad), scales and minima of row n."""

    def state(self) -> tuple[Any, ...]:
        """
        Return what `map_weight` needs: numbers, the table or none, and its bytes as two views.
        """

    def panels(self) -> tuple[Any, ...]:
        """
        Return copies of the packed codes, scales, minima, scale_exp and minimum_exp.
        """

def pack_integers(codes: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order='C', device='cpu', writable=False)], columns: int, bits: int, block: int, zero: int, shift: int, table: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, scale: Annotated[NDArray[numpy.int16], dict(shape=(None, None), order='C', device='cpu', writable=False)], scale_exp: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], minimum: Annotated[NDArray[numpy.int16], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None, minimum_exp: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, threads: int = 1) -> Weight:
    """
    Pack codes (N, Kpad), scales (N, blocks) and exponents (N,) into a weight.
    """

def map_weight(stated: Sequence[int], table: Annotated[NDArray[numpy.int16], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> Weight:
    """
    Return the weight of which `state` gave numbers, table and bytes, joined; the bytes stay where they are.
    """

def convert(kind: str, data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], rows: int, columns: int, bits: int = 8, threads: int = 1) -> Weight:
    """
    Re-express a tensor's bytes as an integer weight; floats get codes of `bits` 8 or 4, block formats keep theirs.
    """

class Counters:
    @property
    def steps(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def largest_step(self) -> int: ...

    @property
    def chunks(self) -> int: ...

    @property
    def tree_rows(self) -> int: ...

    @property
    def ended_rows(self) -> int: ...

    @property
    def shared_positions(self) -> int: ...

class Target:
    def __init__(self, buffer: int, weight: int, bias: int, accumulate: bool) -> None: ...

class Op:
    def __init__(self, kind: str) -> None:
        """Make an operation of a kind by its name, the file in native/ops."""

    @property
    def kind(self) -> str: ...

    @property
    def source(self) -> int: ...

    @source.setter
    def source(self, arg: int, /) -> None: ...

    @property
    def second(self) -> int: ...

    @second.setter
    def second(self, arg: int, /) -> None: ...

    @property
    def third(self) -> int: ...

    @third.setter
    def third(self, arg: int, /) -> None: ...

    @property
    def fourth(self) -> int: ...

    @fourth.setter
    def fourth(self, arg: int, /) -> None: ...

    @property
    def target(self) -> int: ...

    @target.setter
    def target(self, arg: int, /) -> None: ...

    @property
    def weight(self) -> int: ...

    @weight.setter
    def weight(self, arg: int, /) -> None: ...

    @property
    def heads(self) -> int: ...

    @heads.setter
    def heads(self, arg: int, /) -> None: ...

    @property
    def groups(self) -> int: ...

    @groups.setter
    def groups(self, arg: int, /) -> None: ...

    @property
    def kv_heads(self) -> int: ...

    @kv_heads.setter
    def kv_heads(self, arg: int, /) -> None: ...

    @property
    def layer(self) -> int: ...

    @layer.setter
    def layer(self, arg: int, /) -> None: ...

    @property
    def width(self) -> int: ...

    @width.setter
    def width(self, arg: int, /) -> None: ...

    @property
    def window(self) -> int: ...

    @window.setter
    def window(self, arg: int, /) -> None: ...

    @property
    def causal(self) -> bool: ...

    @causal.setter
    def causal(self, arg: bool, /) -> None: ...

    @property
    def accumulate(self) -> bool: ...

    @accumulate.setter
    def accumulate(self, arg: bool, /) -> None: ...

    @property
    def centered(self) -> bool: ...

    @centered.setter
    def centered(self, arg: bool, /) -> None: ...

    @property
    def float_cap(self) -> float: ...

    @float_cap.setter
    def float_cap(self, arg: float, /) -> None: ...

    @property
    def cap(self) -> tuple[int, int]: ...

    @cap.setter
    def cap(self, arg: tuple[int, int], /) -> None: ...

    @property
    def bias(self) -> int: ...

    @bias.setter
    def bias(self, arg: int, /) -> None: ...

    @property
    def added(self) -> int: ...

    @added.setter
    def added(self, arg: int, /) -> None: ...

    @property
    def interleaved(self) -> bool: ...

    @interleaved.setter
    def interleaved(self, arg: bool, /) -> None: ...

    @property
    def gate(self) -> int: ...

    @gate.setter
    def gate(self, arg: int, /) -> None: ...

    @property
    def multiplier(self) -> int: ...

    @multiplier.setter
    def multiplier(self, arg: int, /) -> None: ...

    @property
    def float_scale(self) -> float: ...

    @float_scale.setter
    def float_scale(self, arg: float, /) -> None: ...

    @property
    def targets(self) -> list[Target]: ...

    @targets.setter
    def targets(self, arg: Sequence[Target], /) -> None: ...

    @property
    def index(self) -> list[int]: ...

    @index.setter
    def index(self, arg: Sequence[int], /) -> None: ...

    @property
    def keep(self) -> int: ...

    @keep.setter
    def keep(self, arg: int, /) -> None: ...

    @property
    def norms(self) -> list[int]: ...

    @norms.setter
    def norms(self, arg: Sequence[int], /) -> None: ...

    @property
    def random(self) -> bool: ...

    @random.setter
    def random(self, arg: bool, /) -> None: ...

    @property
    def outliers(self) -> int: ...

    @outliers.setter
    def outliers(self, arg: int, /) -> None: ...

    @property
    def positions(self) -> int: ...

    @positions.setter
    def positions(self, arg: int, /) -> None: ...

    @property
    def first(self) -> int: ...

    @first.setter
    def first(self, arg: int, /) -> None: ...

    @property
    def separator(self) -> int: ...

    @separator.setter
    def separator(self, arg: int, /) -> None: ...

    @property
    def second_bias(self) -> int: ...

    @second_bias.setter
    def second_bias(self, arg: int, /) -> None: ...

    @property
    def routing(self) -> tuple[int, int, int, float, int, int]: ...

    @routing.setter
    def routing(self, arg: tuple[int, int, int, float, int, int], /) -> None: ...

    @property
    def scan(self) -> tuple[int, int, int, int, int, int, int, int, int, bool, bool, bool, int, int, int, int]: ...

    @scan.setter
    def scan(self, arg: tuple[int, int, int, int, int, int, int, int, int, bool, bool, bool, int, int, int, int], /) -> None: ...

    @property
    def scale(self) -> tuple[int, int]: ...

    @scale.setter
    def scale(self, arg: tuple[int, int], /) -> None: ...

class Model:
    def __init__(self, profile: str, tier: str, threads: int, layers: int, kv_heads: int, head_width: int, page_size: int, pinned: bool = False) -> None: ...

    @property
    def tier(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def page_bytes(self) -> int: ...

    @property
    def weight_bytes(self) -> int: ...

    @property
    def counters(self) -> Counters: ...

    @property
    def saturated(self) -> int:
        """
        Numbers of recurrent states that came to the limit, where they saturate.
        """

    def set_scheme(self, largest: int, step_bits: int, mantissa: int, power: bool, whole_row: bool) -> None: ...

    def set_kv_bits(self, key: int, value: int) -> None:
        """Keep keys and values in so many bits, 8 or 4, before there are pages."""

    def set_exchange(self, call: object) -> None:
        """
        Let exchanges call `call(operation, own rows or None, all rows)`, which keeps neither array.
        """

    @property
    def recording(self) -> bool:
        """Whether steps keep the inputs of their products (profile int8)."""

    @recording.setter
    def recording(self, arg: bool, /) -> None: ...

    def recorded(self, op: int) -> NDArray[numpy.uint8]:
        """Return what entered product `op` in the last step, row after row."""

    @property
    def profiling(self) -> bool: ...

    @profiling.setter
    def profiling(self, arg: bool, /) -> None: ...

    def fused_norms(self) -> list[int]:
        """For each operation the norm that is part of it, or -1."""

    def times(self) -> NDArray[numpy.int64]: ...

    def packed_bytes(self, weight: int) -> int: ...

    def add_buffer(self, width: int, wide: bool) -> int: ...

    def add_weight(self, kind: str, data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], rows: int, columns: int, bits: int) -> int:
        """
        Add a matrix as the checkpoint stores it; in the profile fp32 the caller keeps `data`.
        """

    def add_packed(self, weight: Weight) -> int:
        """Add a weight made by `pack_integers`, which then belongs to the model."""

    def set_pager(self, map: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)], cap: int) -> None:
        """
        Keep the weights that `map_weight` made of parts of this map below a cap of bytes, from the next step on.
        """

    def drop_caches(self, file: int) -> None:
        """
        Have dropped pages of this file leave the system's cache too; -1: no longer.
        """

    def paged(self) -> tuple[int, int, int, int]:
        """
        Return the pager's bytes: requested and dropped so far, counted now, the most ever.
        """

    def largest_exponent(self, weight: int) -> int: ...

    def add_gain(self, factor: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], exponent: int, epsilon: int, values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], float_epsilon: float) -> int: ...

    def add_bias(self, bias: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> int: ...

    def add_rotation(self, turns: Annotated[NDArray[numpy.uint64], dict(shape=(None,), order='C', device='cpu', writable=False)], factor: int = 1073741824) -> int: ...

    def add_op(self, op: Op) -> None: ...

    def reserve_pages(self, count: int) -> None: ...

    def copy_page(self, source: int, target: int) -> None: ...

    def read_page(self, page: int) -> NDArray[numpy.uint8]:
        """Return the bytes of a page, of all layers; the same on every tier."""

    def write_page(self, page: int, data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None:
        """Set the bytes of a page to what `read_page` returned."""

    def move(self, pages: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], sources: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], targets: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

    def step(self, tokens: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], chunks: Sequence[tuple[int, int]], tables: Sequence[Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]], wanted: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], trees: Sequence[tuple[int, Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]]], adapters: Sequence[int] = []) -> NDArray[numpy.int32]: ...

    def head_inputs(self, rows: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> NDArray[numpy.uint8]: ...

def draw(model: Model, logits: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], draws: Sequence[tuple[int, tuple[int, int, int, int, int], int, int, tuple[Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], int, Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], int, int, Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)], Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu', writable=False)]] | None, Annotated[NDArray[numpy.uint32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None]]) -> tuple[Any, ...]: ...

def top(model: Model, logits: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], rows: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], k: int) -> tuple[Any, ...]: ...

def likeliest(model: Model, logits: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], rows: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], k: int) -> NDArray[numpy.int32]: ...

def log_probabilities(model: Model, logits: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)], tokens: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> NDArray[numpy.int64]: ...
