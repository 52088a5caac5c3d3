"""Whole models with what was trained: matrices plus an adapter's change, or trained tensors instead of the old ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.safetensors import Stored
from intact.models import build_program, split_matrices
from intact.models.adapters import Adapter
from intact.models.input_limits import SUFFIX
from intact.models.program import Program
from intact.numerics.dequantize import dequantize
from intact.numerics.fp32 import Floats
from intact.quantizing import quantize
from intact.quantizing.output import is_gguf, storable, write_checkpoint
from intact.quantizing.pipeline import KEEP
from intact.train.arithmetic.products import Products
from intact.train.export.folders import check_new, new_folder

MERGED: Final = "intact.merged"
"""Metadata of the file: the kind of the trained parameters."""
OnStage = Callable[[str, int, int], None]


def merged_matrices(program: Program, adapter: Adapter) -> dict[str, Callable[[], Floats]]:
    """Map names of matrices to functions that return W + s B A, summed in the order of the fp32 profile."""
    products = Products()

    def make(name: str) -> Callable[[], Floats]:
        def merged() -> Floats:
            down, up = adapter.changes[name]
            return _values(program, name) + products.dot(up, np.ascontiguousarray(down.T))

        return merged

    return {name: make(name) for name in adapter.changes}


def replaced_tensors(tensors: Mapping[str, Floats]) -> dict[str, Callable[[], Floats]]:
    """Map names of tensors to functions that return their trained values."""
    return {name: (lambda values=values: values) for name, values in tensors.items()}  # type: ignore[misc]


def write_merged(
    source: Path,
    to: Path,
    changed: Callable[[Program], Mapping[str, Callable[[], Floats]]],
    *,
    spec: str | None = None,
    embeddings: str | None = None,
    kind: str = "lora",
    threads: int | None = None,
    progress: OnStage = lambda stage, done, total: None,
) -> None:
    """Write a model with changed tensors, as float32 or quantised.

    Parameters
    ----------
    source : Path
        The model that was trained.
    to : Path
        New folder, or a file whose name ends in ``.gguf``.
    changed : callable
        Returns for a program the new values of tensors, by name.
    spec, embeddings : str, optional
        Specs for `intact.quantizing.quantize`; a GGUF file needs a spec, such as ``q8_0``.

    Raises
    ------
    ParameterError
        If the output exists, or cannot hold the model.
    ModelError
        If the written model does not read back as the trained one.
    """
    check_new(to)
    if is_gguf(to) and spec is None:
        raise ParameterError(f"{to}: a GGUF file needs a type for its matrices, such as --type q8_0")
    if spec is None and embeddings is not None:
        raise ParameterError("a type for embeddings needs a type for the matrices too")
    with _intermediate(to, final=spec is None) as folder:
        with split_matrices(open_checkpoint(source)) as checkpoint:
            program = build_program(checkpoint)
            values = changed(program)
            progress("merge", 0, len(values))
            own = {program.tensors[name].name: name for name in values}
            stored, kept = [], {}
            for tensor in checkpoint.tensors.values():
                if tensor.name.endswith(SUFFIX):  # largest inputs describe the model before training
                    continue
                if tensor.name in own:
                    stored.append(Stored(tensor.name, "F32", tensor.shape, 4 * prod(tensor.shape)))
                else:
                    one = kept[tensor.name] = storable(tensor)
                    stored.append(Stored(tensor.name, one.kind, one.shape, one.data.nbytes))

            def read(name: str) -> bytes:
                if name in kept:
                    return kept[name].data.tobytes()
                return np.ascontiguousarray(values[own[name]](), "<f4").tobytes()

            write_checkpoint(checkpoint, stored, read, folder, about={MERGED: kind})
            _check_read_back(folder, values)
            progress("merge", len(values), len(values))
        if spec is not None:
            quantize(folder, to, spec, embeddings=embeddings or KEEP, threads=threads, progress=progress)


@contextmanager
def _intermediate(to: Path, *, final: bool) -> Iterator[Path]:
    """Yield the folder of the merged model: the output itself, or a temporary one next to it."""
    if final:
        with new_folder(to) as folder:
            yield folder
        return
    folder = to.with_name(f"{to.name}.merged")
    check_new(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_read_back(folder: Path, values: Mapping[str, Callable[[], Floats]]) -> None:
    """Raise unless the written model has the new values, for an architecture may convert tensors as it reads them."""
    with split_matrices(open_checkpoint(folder)) as checkpoint:
        program = build_program(checkpoint)
        for name, value in values.items():
            if not np.array_equal(_values(program, name), value()):
                raise ModelError(f"tensor {name} of {program.architecture} does not read back as it was written")


def _values(program: Program, name: str) -> Floats:
    tensor = program.tensors[name]
    return np.ascontiguousarray(dequantize(tensor.kind, tensor.data, tensor.shape), np.float32)
