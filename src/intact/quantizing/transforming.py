"""Apply transforms to a checkpoint, writing a folder of the same model with changed float weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from intact._base.errors import ModelError
from intact._base.files import read_text, write_whole
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.checkpoints.formats.safetensors import Stored
from intact.models import Program, build_program, find_architecture, split_matrices
from intact.models.input_limits import SUFFIX
from intact.models.rotations import rotation_name
from intact.numerics.dequantize import dequantize
from intact.quantizing.output import storable, write_checkpoint
from intact.quantizing.parts import check_source, check_transformable
from intact.quantizing.quantizers import InputStatistics, Spec
from intact.quantizing.quantizers.transforms import TRANSFORMS
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Weights
from intact.quantizing.structure import find_structure

Gather = Callable[[Program], Callable[[int], InputStatistics]]
Progress = Callable[[str, int, int], None]


def transform_model(
    source: Path,
    names: Sequence[str],
    specs: tuple[Spec, ...],
    gather: Gather | None,
    work: Path,
    progress: Progress = lambda stage, done, whole: None,
) -> Path:
    """Apply transforms one after another; return the folder of the result, within `work`.

    Each step's result is kept until the next step is complete, so an interrupted run can resume from it.

    Parameters
    ----------
    gather : callable, optional
        Returns the statistics of a program, for transforms that need calibration.
    """
    places = [work / f"transformed-{'+'.join(names[: i + 1])}" for i in range(len(names))]
    done = max((i for i, place in enumerate(places) if place.exists()), default=-1)
    for i in range(done + 1, len(names)):
        before = source if i == 0 else places[i - 1]
        part = places[i].with_name(places[i].name + ".part")
        write_transformed(before, names[i], part, specs, gather=gather, progress=progress)
        part.replace(places[i])
        if i:
            shutil.rmtree(before)
    return places[-1]


def write_transformed(
    source: Path,
    name: str,
    out: Path,
    specs: tuple[Spec, ...] = (),
    gather: Gather | None = None,
    progress: Progress = lambda stage, done, whole: None,
) -> None:
    """Write a model after one transform into a new folder; changed tensors are float32.

    Raises
    ------
    ParameterError
        If the architecture or a spec does not permit the transform, or a matrix has several planes.
    ModelError
        If a weight is NaN or infinite.
    """
    transform = TRANSFORMS[name]
    with split_matrices(open_checkpoint(source)) as checkpoint:
        program = build_program(checkpoint)
        check_source(program)
        check_transformable(program, name)
        structure = find_structure(program)
        transform.check(structure, specs)

        def read(tensor: str) -> Weights:
            stored = program.tensors[tensor]
            values = dequantize(stored.kind, stored.data, stored.shape)
            if not np.isfinite(values).all():
                raise ModelError(f"{source}: tensor {stored.name} has NaN or infinite values")
            return values

        statistics = gather(program) if transform.calibrated and gather is not None else None

        def report(done: int, whole: int) -> None:
            progress(f"transform {name}", done, whole)

        edits = transform(FloatModel(structure, read, statistics, specs, progress=report))
        _write(checkpoint, program, edits, read, out=out, name=name)


def _write(
    checkpoint: Checkpoint, program: Program, edits: TensorEdits, read: Callable[[str], Weights], out: Path, name: str
) -> None:
    """Write the tensors of a checkpoint, with edits applied."""
    own = {tensor.name: canonical for canonical, tensor in program.tensors.items()}
    changed = set(edits)
    origin: dict[str, str] = {}
    stored, data = [], {}
    copies = {} if edits.untied is None else {edits.untied.head: edits.untied.embedding}
    for new, old in copies.items():
        gguf = checkpoint.format == "gguf"
        head = new if gguf else find_architecture(checkpoint).hf_name(new)
        origin[head] = new
        shape = program.tensors[old].shape
        stored.append(Stored(head, "F32", shape, 4 * int(np.prod(shape))))
    sizes: dict[str, int] = {}
    for weight, size in edits.rotated.items():
        name = rotation_name(weight)
        own_name = name if checkpoint.format == "gguf" else find_architecture(checkpoint).hf_name(name)
        sizes[own_name] = size
        stored.append(Stored(own_name, "F32", (1,), 4))
    for tensor in checkpoint.tensors.values():
        canonical = own.get(tensor.name)
        if tensor.name in origin or tensor.name.endswith(SUFFIX):  # largest inputs are outdated
            continue
        if canonical in changed and canonical is not None:
            origin[tensor.name] = canonical
            stored.append(Stored(tensor.name, "F32", tensor.shape, 4 * int(np.prod(tensor.shape))))
        else:
            kept = data[tensor.name] = storable(tensor)
            stored.append(Stored(tensor.name, kept.kind, kept.shape, kept.data.nbytes))

    def content(tensor: str) -> bytes:
        if tensor in sizes:
            return np.array([sizes[tensor]], "<f4").tobytes()
        if tensor not in origin:
            return data[tensor].data.tobytes()
        canonical = origin[tensor]
        values = read(copies.get(canonical, canonical))
        return np.ascontiguousarray(edits.apply(canonical, values), "<f4").tobytes()

    write_checkpoint(checkpoint, stored, content, out, about={"source": name})
    if copies and checkpoint.format != "gguf":
        config = out / "config.json"
        write_whole(config, json.dumps(json.loads(read_text(config)) | {"tie_word_embeddings": False}, indent=1))
