"""Quantise a model's matrices one at a time, writing the result of each spec to a file in the work folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from intact._base.errors import ModelError, ParameterError
from intact._base.files import read_text, write_whole
from intact.checkpoints.formats import Tensor
from intact.checkpoints.formats.stored_blocks import blocks_from_bytes, blocks_to_bytes, starts_blocks
from intact.models import Program
from intact.models.gathers import has_index
from intact.models.ops import Experts, GatedRecurrence, Hadamard, Norm
from intact.numerics.dequantize import dequantize
from intact.numerics.integers import read_header, to_bytes
from intact.numerics.weight_formats import BLOCK_FORMATS
from intact.quantizing.quantizers import COSTS, QUANTIZERS, InputStatistics, Spec, SpecMixture
from intact.quantizing.quantizers.proxy import proxy


@dataclass(frozen=True)
class Matrix:
    """A matrix to quantise: its canonical name, and the product whose input it reads (None: it has no statistics)."""

    name: str
    op: int | None
    specs: tuple[Spec, ...]
    """The specs to apply; several are the candidates of a mixture."""

    def part(self, work: Path, index: int) -> Path:
        """Return the path of the matrix quantised by the spec at `index`."""
        return work / (f"{self.name}.weight" if len(self.specs) == 1 else f"{self.name}+{index}.weight")


def check_source(program: Program) -> None:
    """Raise ParameterError if a matrix has several planes or reordered columns, or products have rotated inputs."""
    for tensor in program.tensors.values():
        if has_index(tensor):
            raise ParameterError(
                f"tensor {tensor.name} has an index of its inputs, so it is already quantised; "
                "use the model that it was made from"
            )
    rotated = next((op for op in program.ops if isinstance(op, Hadamard)), None)
    if rotated is not None:
        raise ParameterError(
            f"the inputs of products are rotated in blocks of {rotated.size} at run time; use the model that it was "
            "made from"
        )


def check_static(program: Program) -> None:
    """Raise ParameterError if a program cannot run with static activations."""
    if any(isinstance(op, Experts) for op in program.ops):
        raise ParameterError(
            "static activations are not supported for mixtures of experts: their inputs are not collected"
        )


def expert_matrices(program: Program) -> list[str]:
    """Return the names of a program's expert matrices."""
    experts = [expert for op in program.ops if isinstance(op, Experts) for expert in op.experts]
    return list(dict.fromkeys(name for e in experts for name in (e.gate, e.up, e.down)))


def check_transformable(program: Program, transforms: str) -> None:
    """Raise ParameterError if a program has parts that transforms do not support."""
    if expert_matrices(program) or any(isinstance(op, Norm) and op.centered for op in program.ops):
        raise ParameterError(f"{transforms}: transforms do not support mixtures of experts or layer norms")
    if any(isinstance(op, GatedRecurrence) for op in program.ops):
        what = "gated recurrences, whose products have norms of their own"
        raise ParameterError(f"{transforms}: transforms do not support {what}")


def check_experts(program: Program, spec: Spec | SpecMixture, *, calibrated: bool) -> None:
    """Raise ParameterError if the spec requires something that mixture-of-experts models do not support."""
    if calibrated and expert_matrices(program):
        raise ParameterError(
            f"{spec}: the inputs of experts are not collected; use a quantiser without calibration, such as nearest"
        )
    if spec.transforms:
        check_transformable(program, str(spec))


def stored_bits(part: Path) -> float:
    """Return the number of bits that a quantised matrix takes in memory, scales included."""
    data = np.memmap(part, np.uint8, "r")
    if starts_blocks(data):
        matrix = blocks_from_bytes(part.name, data)
        form = BLOCK_FORMATS[matrix.kind]
        return (form.bits + 16 * (1 + (form.minimum_at is not None)) / form.block) * prod(matrix.shape)
    header = read_header(data)
    return header.bits_per_weight * header.rows * (header.inputs or header.columns)


class Losses(NamedTuple):
    """The losses of a matrix under one spec."""

    proxy: float | None
    """The proxy error, as in `QuantizedMatrix`."""
    cost: float | None
    """The mixture's cost of this candidate; None without a mixture."""


def quantize_matrix(
    tensor: Tensor, matrix: Matrix, read: Callable[[int], InputStatistics] | None, work: Path, cost: str | None
) -> list[Losses]:
    """Quantise a matrix into files in the work folder, skipping existing ones; return the losses for each spec.

    Parameters
    ----------
    cost : str, optional
        The cost of a mixture: a key of `COSTS`.
    """
    parts = {matrix.part(work, i): spec for i, spec in enumerate(matrix.specs)}
    missing = {part: spec for part, spec in parts.items() if not (part.is_file() and _note_of(part).is_file())}
    if missing:
        inputs = None if matrix.op is None or read is None else read(matrix.op)
        try:
            values = dequantize(tensor.kind, tensor.data, tensor.shape)
            for part, spec in missing.items():
                weight, error, blocks = QUANTIZERS[spec.quantizer](values, spec, inputs)
                own = None
                if len(parts) > 1 and inputs is not None and cost is not None:
                    error, own = proxy(values, weight, inputs), COSTS[cost](values, weight, inputs)
                whole = to_bytes(weight)
                if blocks is not None and spec.block_type is not None:
                    whole = blocks_to_bytes(spec.block_type.name, tensor.shape, blocks)
                write_whole(part, whole.tobytes())
                write_whole(_note_of(part), json.dumps({"proxy": error, "cost": own}))
        except (ModelError, ParameterError) as error:
            raise type(error)(f"tensor {tensor.name}: {error}") from error
    return [_losses_of(_note_of(part)) for part in parts]


def _note_of(part: Path) -> Path:
    return part.with_suffix(".json")


def _losses_of(note: Path) -> Losses:
    known = json.loads(read_text(note))
    return Losses(*(None if known[name] is None else float(known[name]) for name in Losses._fields))
