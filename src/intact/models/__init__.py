"""Checkpoints to Programs: one declarative file an architecture."""

from __future__ import annotations

from intact.errors import ModelError
from intact.formats import Checkpoint
from intact.models.decoder import Decoder
from intact.models.needs import NEEDS
from intact.models.program import Program
from intact.models.reward_heads import language_model
from intact.plugins import Registry
from intact.suggest import did_you_mean

__all__ = ["ARCHITECTURES", "Decoder", "Program", "build_program", "find_architecture", "split_matrices"]


def _name_of(value: object) -> str | None:
    """Return the name of an architecture; None for other objects and for classes that architectures share."""
    return value.own_name() if isinstance(value, type) and issubclass(value, Decoder) else None


ARCHITECTURES: Registry[type[Decoder]] = Registry("intact.architectures", __name__, _name_of)
"""The architectures by their names: those of this package's files, and those of other packages.

A name is that in GGUF, but for architectures whose GGUF files are another's (`Decoder.name`).
"""


def find_architecture(checkpoint: Checkpoint) -> type[Decoder]:
    """Return the architecture that a checkpoint names.

    Raises
    ------
    ModelError
        If it names none that is known.
    """
    gguf = checkpoint.format == "gguf"
    key = "general.architecture" if gguf else "architectures"
    named = checkpoint.metadata.get(key)
    listed = [named] if gguf else named if isinstance(named, list) else []
    names = [name for name in listed if isinstance(name, str)]
    known: dict[str, type[Decoder]] = {}
    claimed: dict[str, type[Decoder]] = {}
    for own, architecture in ARCHITECTURES.working().items():
        if not gguf:
            known |= dict.fromkeys(architecture.hf, architecture)
        elif own == architecture.gguf:
            known[own] = architecture
        elif architecture.claims(checkpoint.metadata):
            claimed[architecture.gguf] = architecture
    known |= claimed
    for name in names:
        if (own := language_model(name)) in known:
            return known[own]
    lacks = next((f" (it needs {NEEDS[name]}, which intact does not have)" for name in names if name in NEEDS), "")
    hint = next((f" {found}" for name in names if (found := did_you_mean(name, known))), "")
    broken = "".join(f"; {problem}" for problem in ARCHITECTURES.problems().values())
    raise ModelError(
        f"{checkpoint.path}: {key} is {str(named)[:80]!r}{lacks}, which is not known;{hint} "
        f"intact info --architectures lists the {len(known)} that are{broken}"
    )


def split_matrices(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint in which no tensor holds several matrices, as Phi-3's and stacked experts do.

    Raises
    ------
    ModelError
        If the architecture is unknown, a hyper-parameter is wrong, or the rows do not add up.
    """
    architecture = find_architecture(checkpoint)
    fused = architecture.gguf_fused if checkpoint.format == "gguf" else architecture.fused
    if not fused and architecture.mixture is None:
        return checkpoint
    return architecture.split(checkpoint, architecture.read_config(checkpoint))


def build_program(checkpoint: Checkpoint) -> Program:
    """Return the Program of a checkpoint.

    Raises
    ------
    ModelError
        If the architecture is unknown, or a hyper-parameter or tensor is missing or misshapen.
    """
    return find_architecture(checkpoint)(checkpoint).build()
