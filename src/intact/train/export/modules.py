"""An adapter's matrices under the names, and in the row order, of the format to which they are exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Checkpoint
from intact.models import find_architecture
from intact.models.adapters import Adapter
from intact.models.names import BY_HEAD, PARTS
from intact.models.ops import Linear
from intact.models.program import Program
from intact.numerics.fp32 import Floats


class Module(NamedTuple):
    """A module of an exported adapter: its name, A (rank, inputs) and s B (outputs, rank)."""

    name: str
    down: Floats
    up: Floats

    @property
    def rank(self) -> int:
        """Number of rows of A."""
        return len(self.down)


@dataclass(frozen=True)
class Scaled:
    """Modules whose B no longer holds the scale, which readers compute as alpha / rank.

    Attributes
    ----------
    alpha : float
        Numerator for modules of the rank `rank`; for others it is `alpha` times their rank over `rank`.
    """

    modules: tuple[Module, ...]
    rank: int
    alpha: float


def modules_of(adapter: Adapter, checkpoint: Checkpoint, program: Program, *, gguf: bool) -> list[Module]:
    """Return an adapter's modules as Transformers names them, or as GGUF files do.

    Matrices that the format stores as one become one module, whose rank is the sum of theirs.

    Raises
    ------
    ParameterError
        If the format stores the heads of several matrices in turn.
    """
    order = _RowOrder(checkpoint, program, gguf)
    halves = {name: (down, order.exported(name, up)) for name, (down, up) in adapter.changes.items()}
    a = find_architecture(checkpoint)
    fused = {stem: a.gguf_stems.get(stem, stem) for stem in a.gguf_fused} if gguf else dict(a.fused)
    found: list[Module] = []
    done: set[str] = set()
    for name, (down, up) in halves.items():
        layer, stem = _layer_and_stem(name)
        whole = next((one for one in fused if stem in PARTS[one]), None)
        if whole is None or layer is None:
            module = name if gguf else a.hf_name(name)
            found.append(Module(module.removesuffix(".weight"), down, up))
            continue
        module = f"blk.{layer}.{fused[whole]}" if gguf else f"{a.hf_beginning}layers.{layer}.{fused[whole]}"
        if module not in done:
            done.add(module)
            if whole in BY_HEAD or (a.hf_groups_heads and not gguf):
                raise ParameterError(f"{module} has the heads of several matrices in turn, which an export cannot mix")
            parts = [f"blk.{layer}.{part}.weight" for part in PARTS[whole]]
            found.append(_joined(module, [(halves.get(part), program.tensors[part].shape) for part in parts]))
    return found


def scaled(modules: list[Module], alpha: Fraction, rank: int) -> Scaled:
    """Return modules without the scale alpha / rank in B if multiplying by it restores B; else with alpha = rank.

    A reader computes the same float32 values in both cases.
    """
    scale = np.float32(float(alpha) / rank)
    ups = [module.up / scale for module in modules]
    if all(
        module.rank == rank and np.array_equal(up * scale, module.up) for module, up in zip(modules, ups, strict=True)
    ):
        return Scaled(tuple(m._replace(up=up) for m, up in zip(modules, ups, strict=True)), rank, float(alpha))
    return Scaled(tuple(modules), rank, float(rank))


class _RowOrder:
    """Puts the rows of queries and keys into the order of the format: rotary pairs adjacent, or half a head apart."""

    def __init__(self, checkpoint: Checkpoint, program: Program, gguf: bool) -> None:
        a = find_architecture(checkpoint)
        own = a.gguf_interleaves if checkpoint.format == "gguf" else a.hf_interleaves
        self._interleaves = a.gguf_interleaves if gguf else a.hf_interleaves
        self._same = own == self._interleaves
        self._ropes = program.ropes()
        self._targets = {t.weight: t.buffer for op in program.ops if isinstance(op, Linear) for t in op.targets}

    def exported(self, weight: str, up: Floats) -> Floats:
        """Return B in the order of the format."""
        rope = self._ropes.get(self._targets[weight])
        if self._same or rope is None:
            return up
        inner = (2, -1) if self._interleaves else (-1, 2)
        pairs = up.reshape(rope.heads, *inner, up.shape[1])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(up.shape)


def _layer_and_stem(name: str) -> tuple[str | None, str]:
    """Return the layer and the stem of a matrix's name, such as 3 and attn_q."""
    parts = name.removesuffix(".weight").split(".", 2)
    return (parts[1], parts[2]) if len(parts) == 3 else (None, name)


def _joined(name: str, parts: list[tuple[tuple[Floats, Floats] | None, tuple[int, ...]]]) -> Module:
    """Return one module for matrices with the same input: A's rows stacked, B's in the blocks of a diagonal."""
    rank = sum(len(halves[0]) for halves, _ in parts if halves is not None)
    outputs = sum(shape[0] for _, shape in parts)
    down = np.concatenate([halves[0] for halves, _ in parts if halves is not None])
    up = np.zeros((outputs, rank), np.float32)
    row = column = 0
    for halves, shape in parts:
        if halves is not None:
            width = len(halves[0])
            up[row : row + shape[0], column : column + width] = halves[1]
            column += width
        row += shape[0]
    return Module(name, down, up)


def check_finite(tensors: Mapping[str, Floats]) -> None:
    """Raise unless all values are finite.

    Raises
    ------
    ParameterError
        The message names the tensor.
    """
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise ParameterError(f"{name} holds NaN or infinity: the run diverged, so there is nothing to export")
