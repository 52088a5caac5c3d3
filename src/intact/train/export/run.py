"""Export a run in one of several forms."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact._base.files import named_errors
from intact.checkpoints.formats.safetensors import Stored, write_safetensors
from intact.models import find_architecture
from intact.models.adapters import layer_ends
from intact.train.base import Base
from intact.train.export.folders import check_new
from intact.train.export.gguf_lora import write_gguf_lora, write_vector_file
from intact.train.export.merged import OnStage, merged_matrices, replaced_tensors, write_merged
from intact.train.export.modules import Scaled, check_finite, modules_of, scaled
from intact.train.export.peft import write_peft
from intact.train.running import Trained

FORMS: Final = ("peft", "gguf", "merged", "head")
"""A PEFT folder; a GGUF file of an adapter or of vectors; a whole model; the tensors of a head."""
_OF_PARAMETERS: Final = {
    "lora": ("peft", "gguf", "merged"),
    "vector": ("gguf",),
    "full": ("merged",),
    "head": ("head",),
}


def forms_of(trained: Trained) -> tuple[str, ...]:
    """Return the forms in which a run can be exported, the usual one first."""
    return _OF_PARAMETERS.get(trained.settings.parameters.name, ())


def export(
    trained: Trained,
    base: Base,
    to: Path,
    form: str | None = None,
    *,
    spec: str | None = None,
    embeddings: str | None = None,
    threads: int | None = None,
    progress: OnStage = lambda stage, done, total: None,
) -> str:
    """Export a run; return the form.

    Parameters
    ----------
    to : Path
        New file or folder.
    form : str, optional
        One of `FORMS`; by default the usual form of the trained parameters.
    spec, embeddings : str, optional
        Types of a merged model's matrices (docs/quantizing.md); by default, changed matrices are float32.

    Raises
    ------
    ParameterError
        If the output exists, the form does not suit the run, or the run is that of another model.
    """
    kind = trained.settings.parameters.name
    possible = forms_of(trained)
    form = form or (possible[0] if possible else "")
    if form not in possible:
        raise ParameterError(
            f"{trained.out} trained {kind}, which can be exported as {', '.join(possible) or 'nothing'}, "
            f"not as {form or 'a file'}"
        )
    if form != "merged" and (spec or embeddings):
        raise ParameterError("types of matrices apply to merged models only")
    check_new(to)
    check_finite(trained.state.tensors)
    if form == "merged":
        write_merged(
            base.path,
            to,
            (lambda program: merged_matrices(program, trained.adapter()))
            if kind == "lora"
            else (lambda program: replaced_tensors(trained.state.tensors)),
            spec=spec, embeddings=embeddings, kind=kind, threads=threads, progress=progress,
        )  # fmt: skip
    elif form == "head":
        _write_head(trained, to)
    elif kind == "vector":
        write_vector_file(trained.adapter(), to, gguf_name(base))
    elif form == "peft":
        write_peft(as_modules(trained, base, gguf=False), to, base.path.name, len(layer_ends(base.program)))
    else:
        write_gguf_lora(as_modules(trained, base, gguf=True), to, gguf_name(base))
    return form


def as_modules(trained: Trained, base: Base, *, gguf: bool) -> Scaled:
    """Return the modules of a run's adapter."""
    parameters = trained.settings.parameters
    modules = modules_of(trained.adapter(), base.checkpoint, base.program, gguf=gguf)
    return scaled(modules, Fraction(parameters.alpha), parameters.rank)


def gguf_name(base: Base) -> str:
    """Return the GGUF name of a model's architecture."""
    return find_architecture(base.checkpoint).gguf


def _write_head(trained: Trained, to: Path) -> None:
    """Write the tensors of a head as a safetensors file."""
    tensors = trained.state.tensors
    stored = [Stored(name, "F32", values.shape, 4 * values.size) for name, values in sorted(tensors.items())]
    to.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(to):
        write_safetensors(
            to, stored, lambda name: np.ascontiguousarray(tensors[name], "<f4").tobytes(), {"format": "pt"}
        )
