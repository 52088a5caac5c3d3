"""Build Programs from checkpoints; each architecture is one declarative file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact._base.plugins import Registry
from intact._base.suggest import did_you_mean
from intact.checkpoints.formats import Checkpoint
from intact.models.decoder import Decoder
from intact.models.mixtures import numbered
from intact.models.names import GGUF_LAYER, PARTS, names_eagle_head
from intact.models.needs import NEEDS
from intact.models.program import Program
from intact.models.reward_heads import language_model
from intact.models.vit import is_vision_model

__all__ = [
    "ARCHITECTURES",
    "Decoder",
    "Program",
    "StoredTogether",
    "build_program",
    "find_architecture",
    "split_matrices",
    "stored_apart",
    "stored_together",
]


class StoredTogether(NamedTuple):
    """A stored tensor that holds several matrices, or one matrix in a different shape.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Shape in the file.
    parts : tuple of str
        The names that `split_matrices` gives to the matrices, in the order of their bytes, which together are exactly
        the tensor's bytes; empty if the matrices are interleaved row by row.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[str, ...]


def _name_of(value: object) -> str | None:
    """Return the name of an architecture; None for other objects and for base classes of architectures."""
    return value.own_name() if isinstance(value, type) and issubclass(value, Decoder) else None


ARCHITECTURES: Registry[type[Decoder]] = Registry("intact.architectures", __name__, _name_of)
"""All architectures by name, from this package and from plugins.

The name is the one used in GGUF, except for architectures whose GGUF files use another architecture's name
(`Decoder.name`).
"""


def find_architecture(checkpoint: Checkpoint) -> type[Decoder]:
    """Return the architecture that a checkpoint names.

    Raises
    ------
    ModelError
        If it names no known architecture.
    """
    gguf = checkpoint.format == "gguf"
    key = "general.architecture" if gguf else "architectures"
    named = checkpoint.metadata.get(key)
    if named is None and not gguf:
        unnamed = (one for one in ARCHITECTURES.working().values() if one.hf_unnamed)
        named = [one.hf[0] for one in unnamed if one.claims(checkpoint.metadata)] or None
    listed = [named] if gguf else named if isinstance(named, list) else []
    names = [name for name in listed if isinstance(name, str)]
    if gguf and names and (found := _of_gguf(names[0], checkpoint.metadata)) is not None:
        return found
    if not gguf and (found := _of_class(checkpoint.metadata, names)) is not None:
        return found
    if not gguf and is_vision_model(checkpoint):
        raise ModelError(
            f"{checkpoint.path} classifies images and does not read text: load it with intact.load_classifier"
        )
    if not gguf and any(map(names_eagle_head, names)):
        raise ModelError(
            f"{checkpoint.path} drafts for another model: load that model with draft_model={checkpoint.path}"
        )
    known = _gguf_names() if gguf else _class_names(checkpoint.metadata, names, ARCHITECTURES.working())
    lacks = next((f" (it needs {NEEDS[name]}, which intact does not have)" for name in names if name in NEEDS), "")
    hint = next((f" {meant}" for name in names if (meant := did_you_mean(name, known))), "")
    broken = "".join(f"; {problem}" for problem in ARCHITECTURES.problems().values())
    raise ModelError(
        f"{checkpoint.path}: {key} is {str(named)[:80]!r}{lacks}, which is not a known architecture;{hint} "
        f"intact info --architectures lists all {len(known)}{broken}"
    )


def _of_gguf(name: str, metadata: Mapping[str, Any]) -> type[Decoder] | None:
    """Return a GGUF file's architecture, or None; import only those that may share its name."""
    named = ARCHITECTURES.usable(name)
    if named is None or named.gguf != name:
        return None
    shared = [ARCHITECTURES[other] for other in named.gguf_shared]
    others = [one for one in (*ARCHITECTURES.foreign().values(), *shared) if one.gguf == name and one is not named]
    return next((one for one in others if one.claims(metadata)), named)


def _of_class(metadata: Mapping[str, Any], names: Sequence[str]) -> type[Decoder] | None:
    """Return the architecture of a Transformers class, or None; import only those that may know the class."""
    words = {*names, *map(language_model, names), str(metadata.get("model_type"))}
    known = _class_names(metadata, names, ARCHITECTURES.naming(words))
    for name in names:
        if (known_name := name if name in known else language_model(name)) in known:
            return known[known_name]
    return None


def _gguf_names() -> dict[str, type[Decoder]]:
    """Map names in GGUF files to architectures."""
    return {own: one for own, one in ARCHITECTURES.working().items() if own == one.gguf}


def _class_names(
    metadata: Mapping[str, Any], names: Sequence[str], architectures: Mapping[str, type[Decoder]]
) -> dict[str, type[Decoder]]:
    """Map Transformers class names to architectures; architectures that claim the checkpoint take precedence."""
    known: dict[str, type[Decoder]] = {}
    claimed: dict[str, type[Decoder]] = {}
    for architecture in architectures.values():
        claims = architecture.claims(metadata)
        if metadata.get("model_type") in architecture.hf_types:
            claimed |= dict.fromkeys(names, architecture)
        for name in architecture.hf:
            (claimed if claims else known).setdefault(name, architecture)
    return known | claimed


def split_matrices(checkpoint: Checkpoint) -> Checkpoint:
    """Split tensors that hold several matrices, such as Phi-3's or stacked experts; return the resulting checkpoint.

    Raises
    ------
    ModelError
        If the architecture is unknown, a hyper-parameter is invalid, or the row counts do not add up.
    """
    architecture = find_architecture(checkpoint)
    fused = architecture.gguf_fused if checkpoint.format == "gguf" else architecture.fused
    if not fused and architecture.mixture is None:
        return checkpoint
    return architecture.split(checkpoint, architecture.read_config(checkpoint))


def stored_together(checkpoint: Checkpoint) -> list[StoredTogether]:
    """Return the tensors of a checkpoint that `split_matrices` splits; raises the same errors."""
    split = split_matrices(checkpoint)
    parts = [tensor for name, tensor in split.tensors.items() if tensor is not checkpoint.tensors.get(name)]
    parts.sort(key=lambda part: _address(part.data))
    places, found = [_address(part.data) for part in parts], []
    for name, tensor in checkpoint.tensors.items():
        if split.tensors.get(name) is not tensor:
            first = _address(tensor.data)
            inside = parts[bisect_left(places, first) : bisect_left(places, first + tensor.data.nbytes)]
            ends = [first, *[_address(part.data) + part.data.nbytes for part in inside]]
            whole = ends[-1] == first + tensor.data.nbytes and ends[:-1] == [_address(part.data) for part in inside]
            found.append(StoredTogether(name, tensor.shape, tuple([part.name for part in inside]) if whole else ()))
    return found


def stored_apart(checkpoint: Checkpoint) -> list[str]:
    """Return the names of matrices that are separate in this checkpoint but fused in the architecture's GGUF files."""
    architecture = find_architecture(checkpoint)
    parts = {part for stem in architecture.gguf_fused for part in PARTS[stem]}
    names = [(name, match[2]) for name in checkpoint.tensors if (match := GGUF_LAYER.fullmatch(name))]
    return [name for name, stem in names if stem in parts or numbered(stem)]


def _address(data: NDArray[np.uint8]) -> int:
    return int(data.__array_interface__["data"][0])


def build_program(checkpoint: Checkpoint) -> Program:
    """Build the Program of a checkpoint.

    Raises
    ------
    ModelError
        If the architecture is unknown, or a hyper-parameter or tensor is missing or has the wrong shape.
    """
    return find_architecture(checkpoint)(checkpoint).build()
