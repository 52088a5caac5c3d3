"""Low-rank adapters (LoRA, arXiv 2106.09685) of a model as it is served, quantised or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from intact._base.errors import ParameterError
from intact._base.suggest import did_you_mean
from intact.models.adapters import Adapter, with_adapters
from intact.models.ops import Adapt, Linear
from intact.models.program import Program
from intact.numerics.fp32 import Floats
from intact.numerics.weights import from_floats
from intact.train.arithmetic.passes import Learned
from intact.train.draws import fan_in_bound, uniform
from intact.train.pieces import Parameters, positive
from intact.train.rationals import rational, rounded

ADAPTER = "trained"
"""Name of the adapter in the program."""


@dataclass(frozen=True)
class Lora(Parameters):
    """W + alpha / rank B A for chosen matrices; A starts with keyed uniform draws, B with 0.

    Parameters
    ----------
    rank : int
    alpha : str
    targets : str
        "all", or names of matrices within a layer with commas between them, such as "attn_q,attn_v".
    layers : int
        Number of layers to change, counted from the last; 0 for all.
    """

    name: ClassVar[str] = "lora"
    summary: ClassVar[str] = "Low-rank adapter of the model as served"
    adapter: ClassVar[int] = 0

    rank: int = 8
    alpha: str = "16"
    targets: str = "all"
    layers: int = 0

    def __post_init__(self) -> None:
        positive("rank", self.rank, 1, 1024)
        positive("layers", self.layers, 0, 1 << 16)
        if not rational("alpha", self.alpha) > 0:
            raise ParameterError(f"alpha must be above 0, got {self.alpha}")

    @property
    def scale(self) -> np.float32:
        """alpha / rank."""
        return rounded(rational("alpha", self.alpha) / Fraction(self.rank))

    def matrices(self, program: Program) -> list[str]:
        """Return the names of the matrices that are changed, in program order.

        Raises
        ------
        ParameterError
            If the model has no matrix of a given name.
        """
        found = [target.weight for op in program.ops if isinstance(op, Linear) for target in op.targets]
        layered = [name for name in found if name.startswith("blk.")]
        wanted = None if self.targets == "all" else {part.strip() for part in self.targets.split(",")}
        known = sorted({_stem(name) for name in layered})
        for stem in sorted(wanted or ()):
            if stem not in known:
                raise ParameterError(
                    f"targets: the model has no matrix {stem!r:.40} "
                    f"{did_you_mean(stem, known) or ''}; known: {', '.join(known)}"
                )
        first = max(_layer(name) for name in layered) + 1 - self.layers if self.layers else 0
        return [name for name in layered if (wanted is None or _stem(name) in wanted) and _layer(name) >= first]

    def start(self, program: Program, seed: int) -> dict[str, Floats]:
        """Return A and B of each matrix."""
        tensors: dict[str, Floats] = {}
        for name in self.matrices(program):
            outputs, inputs = program.tensors[name].shape
            bound = fan_in_bound(inputs)
            tensors[f"{name}.lora_a"] = uniform(seed, f"{name}.lora_a", (self.rank, inputs), bound)
            tensors[f"{name}.lora_b"] = np.zeros((outputs, self.rank), np.float32)
        return tensors

    def as_adapter(self, tensors: Mapping[str, Floats], path: Path = Path("trained")) -> Adapter:
        """Return the adapter in the form in which the engine serves it: A, and B times the scale."""
        names = [name.removesuffix(".lora_a") for name in tensors if name.endswith(".lora_a")]
        return Adapter(path, {n: (tensors[f"{n}.lora_a"], tensors[f"{n}.lora_b"] * self.scale) for n in names})

    def changed(self, before: Mapping[str, Floats], after: Mapping[str, Floats]) -> float:
        """Return the share of the adapter's 8-bit codes that differ between two states, as the engine serves them."""
        different, total = 0, 0
        for name in before:
            scale = self.scale if name.endswith(".lora_b") else np.float32(1.0)
            old, new = (from_floats(tensors[name] * scale).codes for tensors in (before, after))
            different += int(np.count_nonzero(old != new))
            total += old.size
        return different / total

    def place(self, program: Program, tensors: Mapping[str, Floats]) -> Program:
        """Return the program with the adapter."""
        return with_adapters(program, {ADAPTER: self.as_adapter(tensors)})

    def learned(self, program: Program, tensors: Mapping[str, Floats]) -> dict[str, Learned]:
        """Map the adapter's matrices to their masters; B is served with the scale in it."""
        found: dict[str, Learned] = {}
        for op in program.ops:
            change = op.changes[self.adapter] if isinstance(op, Adapt) else None
            if change is not None:
                found[change.down] = Learned(change.down.removesuffix(".0"))
                found[change.up] = Learned(change.up.removesuffix(".0"), self.scale)
        return found


def _stem(name: str) -> str:
    return name.split(".", 2)[2].removesuffix(".weight")


def _layer(name: str) -> int:
    return int(name.split(".")[1])
