"""Checkpoints to Programs: one declarative builder an architecture."""

from __future__ import annotations

from intact.errors import ModelError
from intact.formats import Checkpoint
from intact.models.decoder import Decoder
from intact.models.gemma3 import Gemma3
from intact.models.llama import Llama
from intact.models.program import Program
from intact.models.qwen2 import Qwen2
from intact.models.qwen3 import Qwen3

ARCHITECTURES: tuple[type[Decoder], ...] = (Llama, Qwen2, Qwen3, Gemma3)

__all__ = ["ARCHITECTURES", "Program", "build_program"]


def build_program(checkpoint: Checkpoint) -> Program:
    """The Program of a checkpoint.

    Raises
    ------
    ModelError
        If the architecture is unknown, or a hyper-parameter or tensor is missing or misshapen.
    """
    key = "general.architecture" if checkpoint.format == "gguf" else "architectures"
    name = checkpoint.metadata.get(key)
    if checkpoint.format == "gguf":
        found = [a for a in ARCHITECTURES if isinstance(name, str) and a.gguf == name]
    else:
        found = [a for a in ARCHITECTURES if isinstance(name, list) and set(a.hf) & set(map(str, name))]
    if not found:
        known = ", ".join(a.gguf if checkpoint.format == "gguf" else a.hf[0] for a in ARCHITECTURES)
        raise ModelError(f"{checkpoint.path}: {key} is {str(name)[:80]!r}; known are {known}")
    return found[0](checkpoint).build()
