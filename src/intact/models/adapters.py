"""Adapters: low-rank changes to a model's matrices, and vectors added to its rows between layers.

LoRA adapters are read from PEFT folders and llama.cpp GGUF files, steering vectors from GGUF control-vector files.

A matrix W becomes W + s B A, where A has r rows and B has r columns, and s = alpha / r, or alpha / sqrt(r) in PEFT's
rank-stabilised form (Hu et al., arXiv 2106.09685; Kalajdzievski, arXiv 2312.03732). Here s is folded into B, as
float32, and the change is computed separately from the product: x is multiplied by A, then by B, and the result is
added (docs/spec/numerics.md, section 9). A vector is added to the residual stream after a layer (activation steering:
Azizi et al., arXiv 2507.04742).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import FormatError, ModelError
from intact._base.process import LimitReached, WorkerFailure, WorkerProcess
from intact._base.suggest import did_you_mean
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.gguf import read_gguf
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.pytorch import read_pytorch
from intact.checkpoints.formats.safetensors import read_json, read_safetensors
from intact.models import adapter_patterns, find_architecture
from intact.models.aspects.op import Convolution, Op, Recurrent
from intact.models.aspects.parameters import float_values
from intact.models.names import BY_HEAD, PARTS
from intact.models.ops import Adapt, Attend, Experts, Gather, Hadamard, Linear, LowRank, Multiply, Norm, Steer
from intact.models.program import Program
from intact.numerics.dequantize import dequantize

Floats = NDArray[np.float32]
CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = {"adapter_model.safetensors": read_safetensors, "adapter_model.bin": read_pytorch}
"""Names of the weights file in a PEFT folder, in order of preference, with their readers."""
LARGEST_RANK: Final = 4096
STREAM: Final = "x"
"""Buffer of the residual stream."""
_MATCHING: Final = 5.0
"""Limit, in CPU seconds, for matching all patterns of an adapter: a malicious pattern could take centuries."""
_MEMORY: Final = 512 << 20
"""Limit, in bytes, on the address space of the process that matches them."""
_DIRECTION: Final = re.compile(r"direction\.(\d{1,4})")
_PEFT: Final = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<half>[AB])(?:\.default)?\.weight")
_GGUF: Final = re.compile(r"(?P<module>.+)\.weight\.lora_(?P<half>[ab])")
_MUST_BE: Final[Mapping[str, tuple[Any, ...]]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
}
"""Members of PEFT's configuration, with the values that leave the model's own matrices unchanged."""
_MUST_BE_EMPTY: Final = (
    *("use_dora", "fan_in_fan_out", "modules_to_save", "layer_replication", "trainable_token_indices"),
    *("target_parameters", "lora_bias", "use_qalora", "use_bdlora", "kasa_config", "velora_config", "arrow_config"),
    *("monteclora_config", "alora_invocation_tokens"),
)
"""Members that request more than low-rank changes, unless they are false, empty or missing."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """Changes to a model's matrices and residual stream.

    Attributes
    ----------
    path : Path
        The adapter's file or folder.
    changes : mapping
        For each matrix, by its name in the program, A (r, inputs) and s B (outputs, r).
    vectors : mapping
        For each layer, counted from 0, the vector added after it: (width,).
    """

    path: Path
    changes: Mapping[str, tuple[Floats, Floats]]
    vectors: Mapping[int, Floats] = field(default_factory=dict)

    def scaled(self, factor: float) -> Adapter:
        """Return the adapter with B and the vectors multiplied by a factor, rounded to float32."""
        scale = np.float32(factor)
        changes = {name: (down, up * scale) for name, (down, up) in self.changes.items()}
        return replace(self, changes=changes, vectors={layer: v * scale for layer, v in self.vectors.items()})


@dataclass(frozen=True)
class _Halves:
    """A and B of one module as stored, with the module's name in the file."""

    module: str
    down: Tensor
    up: Tensor
    alpha: float
    stabilised: bool = False

    def values(self, path: Path) -> tuple[Floats, Floats]:
        """Return A and s B after validating them."""
        down, up = (_floats(tensor, path) for tensor in (self.down, self.up))
        rank = down.shape[0]
        if rank != up.shape[1] or not 1 <= rank <= LARGEST_RANK:
            raise ModelError(
                f"{path}: {self.module} has A of shape {down.shape} and B of shape {up.shape}; expected the same rank, "
                f"1 to {LARGEST_RANK}: rows of A, columns of B"
            )
        scale = np.float32(self.alpha / (sqrt(rank) if self.stabilised else rank))
        return down, up * scale


def _floats(tensor: Tensor, path: Path) -> Floats:
    if len(tensor.shape) != 2:
        raise ModelError(f"{path}: tensor {tensor.name} has shape {tensor.shape}; expected a matrix")
    values = dequantize(tensor.kind, tensor.data, tensor.shape).astype(np.float32)
    if not np.isfinite(values).all():
        raise ModelError(f"{path}: tensor {tensor.name} holds NaN or infinity")
    return values


def read_adapter(path: str | os.PathLike[str], checkpoint: Checkpoint, program: Program) -> Adapter:
    """Read an adapter for a model.

    Parameters
    ----------
    path : str or path
        A PEFT folder (``adapter_config.json``, ``adapter_model.safetensors`` or ``.bin``), a GGUF file written by
        llama.cpp's ``convert_lora_to_gguf.py``, or a control-vector file; optionally followed by a colon and a factor.
    checkpoint, program
        Checkpoint and program of the model that the adapter changes.

    Raises
    ------
    FormatError
        If a file is damaged, or is not an adapter.
    ModelError
        If the adapter is for another model, or needs an unsupported feature, which the message names.
    """
    path, factor = _place(path)
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder; expected a LoRA adapter or a control vector")
    gguf = not path.is_dir()
    if gguf and (vectors := _control_vectors(path, program)):
        return Adapter(path, {}, vectors).scaled(factor)
    naming = _Naming(checkpoint, program, gguf)
    changes: dict[str, tuple[Floats, Floats]] = {}
    for halves in _gguf_halves(path) if gguf else _peft_halves(path):
        down, up = halves.values(path)
        for weight, rows in naming.matrices(halves.module, len(up), path):
            want = program.tensors[weight].shape
            own = (up[rows].shape[0], down.shape[1])
            if own != want:
                raise ModelError(
                    f"{path}: {halves.module} changes a matrix of {own[0]} x {own[1]}, but that of "
                    f"{checkpoint.path.name} has {want[0]} x {want[1]}: the adapter belongs to another model"
                )
            changes[weight] = down, naming.reorder(weight, up[rows])
    if not changes:
        raise ModelError(f"{path} changes no matrix")
    return Adapter(path, changes).scaled(factor)


def weights_file(folder: Path) -> Path | None:
    """Return the weights file of a PEFT folder; None if there is none."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _place(path: str | os.PathLike[str]) -> tuple[Path, float]:
    """Split the argument into the file or folder and the factor."""
    name, colon, end = os.fspath(path).rpartition(":")
    try:
        factor = float(end) if colon and not Path(path).exists() else None
    except ValueError:
        factor = None
    if factor is None:
        return Path(path), 1.0
    if not abs(factor) <= 2.0**20:
        raise ModelError(f"{name} has the factor {factor:g}; expected a number of at most 2^20")
    return Path(name), factor


def _paired(
    path: Path, tensors: Mapping[str, Tensor], pattern: re.Pattern[str]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield each module of a file, with its A and B."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if (match := pattern.fullmatch(name)) is None:
            raise ModelError(f"{path}: tensor {name:.120} is not part of a LoRA adapter; expected lora_A or lora_B")
        halves.setdefault(match["module"], {})[match["half"].upper()] = tensor
    for module, both in halves.items():
        if len(both) != 2:
            raise ModelError(f"{path}: {module} has only lora_{next(iter(both))}; expected A and B")
        yield module, both["A"], both["B"]


def _peft_halves(path: Path) -> Iterator[_Halves]:
    if not (path / CONFIG).exists():
        raise FormatError(f"{path} has no {CONFIG}; expected a PEFT folder or a GGUF adapter")
    config = read_json(path / CONFIG, "the adapter's configuration")
    for name, allowed in _MUST_BE.items():
        if (value := config.get(name, allowed[0])) not in allowed:
            raise ModelError(f"{path / CONFIG}: {name} is {value!r:.60}; expected one of {allowed}")
    for name in _MUST_BE_EMPTY:
        if value := config.get(name):
            raise ModelError(f"{path / CONFIG}: {name} is {value!r:.60}; only low-rank changes are supported")
    m = Metadata(config, path / CONFIG)
    alpha, stabilised = m.number("lora_alpha", least=2.0**-20, most=2.0**20), bool(config.get("use_rslora"))
    own = config.get("alpha_pattern") or {}
    if not isinstance(own, dict) or not all(isinstance(a, int | float) and abs(a) <= 2.0**20 for a in own.values()):
        raise ModelError(
            f"{path / CONFIG}: alpha_pattern is {own!r:.60}; expected numbers of at most 2^20 in size, by patterns of "
            "modules"
        )
    weights = weights_file(path)
    if weights is None:
        raise FormatError(f"{path} has no weights; expected {' or '.join(WEIGHTS)}")
    halves = list(_paired(weights, WEIGHTS[weights.name](weights), _PEFT))
    patterns = _patterns_of([module for module, _, _ in halves], list(own), path / CONFIG)
    for (module, down, up), pattern in zip(halves, patterns, strict=True):
        yield _Halves(module, down, up, float(own.get(pattern or module, alpha)), stabilised=stabilised)


def _patterns_of(modules: list[str], patterns: list[str], path: Path) -> list[str | None]:
    """Return for each module the pattern (a regular expression) that PEFT would use for it."""
    if not patterns:
        return [None] * len(modules)
    worker = WorkerProcess(Path(adapter_patterns.__file__), "re", seconds=_MATCHING, memory=_MEMORY)
    try:
        found: list[str | None] = worker.ask("find", patterns, modules)
    except LimitReached as error:
        raise ModelError(f"{path}: alpha_pattern: matching its keys {error}") from None
    except WorkerFailure as error:
        raise ModelError(f"{path}: alpha_pattern: keys must be regular expressions; {error}") from None
    finally:
        worker.end()
    return found


def _gguf_halves(path: Path) -> Iterator[_Halves]:
    contents = read_gguf(path)
    kind = contents.metadata.get("general.type"), contents.metadata.get("adapter.type")
    if kind != ("adapter", "lora"):
        raise FormatError(f"{path}: general.type and adapter.type are {kind}; expected 'adapter' and 'lora'")
    alpha = Metadata(contents.metadata, path).number("adapter.lora.alpha", least=2.0**-20, most=2.0**20)
    for module, down, up in _paired(path, contents.tensors, _GGUF):
        yield _Halves(module, down, up, alpha)


def _control_vectors(path: Path, program: Program) -> dict[int, Floats]:
    """Return a file's vectors by layer; empty if it is not a control-vector file."""
    contents = read_gguf(path)
    if contents.metadata.get("general.architecture") != "controlvector":
        return {}
    width, layers, vectors = program.buffers[STREAM].width, len(layer_ends(program)), {}
    for name, tensor in contents.tensors.items():
        match = _DIRECTION.fullmatch(name)
        if match is None or int(match[1]) >= layers:
            expected = f"direction.N for a layer N from 0 to {layers - 1}"
            raise ModelError(f"{path}: tensor {name:.80}: expected {expected}")
        if tensor.shape != (width,):
            raise ModelError(
                f"{path}: tensor {name} has shape {tensor.shape}, but the model's rows have {width} numbers: it "
                "belongs to another model"
            )
        vectors[int(match[1])] = float_values(tensor, width, "control vector").astype(np.float32)
    if not vectors:
        raise ModelError(f"{path} has no vectors")
    return vectors


class _Naming:
    """Maps an adapter's modules to a model's matrices, accounting for the row orders of both formats."""

    def __init__(self, checkpoint: Checkpoint, program: Program, gguf: bool) -> None:
        self._architecture = find_architecture(checkpoint)
        self._program, self._name, self._gguf = program, checkpoint.path.name, gguf
        a = self._architecture
        formats = checkpoint.format == "gguf", gguf
        wanted, given = (a.gguf_interleaves if form else a.hf_interleaves for form in formats)
        self._moved = None if wanted == given else wanted
        self._ropes = program.ropes()
        self._targets = {t.weight: t.buffer for op in program.ops if isinstance(op, Linear) for t in op.targets}

    def matrices(self, module: str, outputs: int, path: Path) -> list[tuple[str, slice]]:
        """Return the matrices of a module with `outputs` outputs, by their names in the program, with their rows."""
        stem = module if self._gguf else self._architecture.canonical_name(f"{module}.weight").removesuffix(".weight")
        weight = f"{stem}.weight"
        alone = weight in self._targets
        if alone and self._program.tensors[weight].shape[0] == outputs:
            return [(weight, slice(None))]
        if (fused := self._fused(module)) is not None:
            found, at = [], 0
            for weight in fused:
                rows = self._program.tensors[weight].shape[0]
                found.append((weight, slice(at, at + rows)))
                at += rows
            return found
        if alone:
            return [(weight, slice(None))]  # the wrong shape is reported later
        known = [t if self._gguf else self._architecture.hf_name(t) for t in self._targets]
        hint = did_you_mean(f"{module}.weight", known)
        raise ModelError(
            f"{path}: {module} is not a matrix of {self._name} that an adapter can change"
            f"{f' ({hint})' if hint else ''}: attention and feed-forward matrices, not embeddings, heads or experts"
        )

    def _fused(self, module: str) -> list[str] | None:
        """Return, in order, the matrices that make up a fused module."""
        a, (start, _, part) = self._architecture, module.rpartition(".")
        if self._gguf:
            stem = next((own for own in a.gguf_fused if a.gguf_stems.get(own, own) == part), None)
        else:
            layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
            stem = next((own for own, hf in a.fused.items() if layer and hf == layer[2]), None)
            start = f"blk.{layer[1]}" if layer else start
        if stem is None or stem in BY_HEAD or (a.hf_groups_heads and not self._gguf):
            return None
        return [f"{start}.{name}.weight" for name in PARTS[stem]]

    def reorder(self, weight: str, up: Floats) -> Floats:
        """Return B with query and key rows in the model's order: rotary pairs adjacent, or half a head apart."""
        rope = self._ropes.get(self._targets[weight])
        if self._moved is None or rope is None:
            return up
        inner = (2, -1) if self._moved else (-1, 2)
        pairs = up.reshape(rope.heads, *inner, up.shape[1])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(up.shape)


def with_adapters(program: Program, adapters: Mapping[str, Adapter]) -> Program:
    """Return a program in which each sequence may use an adapter, given by its number in this mapping.

    Raises
    ------
    ModelError
        If the model's matrices multiply rotated or reordered rows.
    """
    if not adapters:
        return program
    several = list(adapters.values())
    rotated = any(isinstance(op, Gather | Hadamard) for op in program.ops)
    if rotated and any(adapter.changes for adapter in several):
        raise ModelError("adapters cannot change matrices whose inputs are rotated or reordered, as in this model")
    tensors = dict(program.tensors)

    def keep(name: str, values: Floats) -> str:
        data = np.ascontiguousarray(values, "<f4").reshape(-1).view(np.uint8)
        tensors[name] = Tensor(name, "F32", values.shape, data)
        return name

    def change(weight: str, number: int) -> LowRank | None:
        halves = several[number].changes.get(weight)
        if halves is None:
            return None
        return LowRank(*(keep(f"{weight}.lora_{half}.{number}", v) for half, v in zip("ab", halves, strict=True)))

    def vector(layer: int, number: int) -> str | None:
        values = several[number].vectors.get(layer)
        return None if values is None else keep(f"blk.{layer}.direction.{number}", values)

    ends = {place: layer for layer, place in enumerate(layer_ends(program))}
    ops: list[Op] = []
    for i, op in enumerate(program.ops):
        ops.append(op)
        if i in ends:
            vectors = tuple(vector(ends[i], number) for number in range(len(several)))
            if any(vectors):
                ops.append(Steer(STREAM, vectors))
        if not isinstance(op, Linear):
            continue
        for target in op.targets:
            changes = tuple(change(target.weight, number) for number in range(len(several)))
            if any(changes):
                ops.append(Adapt(op.source, target.buffer, changes))
    return replace(program, ops=tuple(ops), tensors=tensors, adapters=tuple(adapters))


def layer_ends(program: Program) -> list[int]:
    """Return for each layer its last operation that changes the residual stream, before the next layer's attention.

    In layers with convolutions or state spaces, these replace attention or run in parallel with it.
    """
    ends: list[int] = []
    last = -1
    for i, op in enumerate(program.ops):
        if isinstance(op, Attend | Convolution | Recurrent):
            ends += [last] if last >= 0 and last not in ends[-1:] else []
        added = [(t.buffer, t.accumulate) for t in op.targets] if isinstance(op, Linear) else []
        if isinstance(op, Norm | Experts):
            added = [(op.target, op.accumulate)]
        if (STREAM, True) in added or (isinstance(op, Multiply) and op.target == STREAM):
            last = i
    return [*ends, last]
