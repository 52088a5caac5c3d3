"""Descriptions of models in Ollama's format, made without loading them, and digests of their files."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from intact.checkpoints.download import sha256
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.models import find_architecture
from intact.serve.thinking import can_think
from intact.text import Tokenizer, infill
from intact.text.tool_calls import find_format

_TEMPLATE = "tokenizer.chat_template"
_UNITS = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K"))
_FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 18: "Q6_K"}
_FILE_TYPES |= {11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M"}
_FILE_TYPES[32] = "BF16"
"""Names of mixed weight formats, by their numbers in GGUF files."""
_GGUF_NAMES = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
}
"""Maps fields of config.json to their names in GGUF files."""
KEPT = 64
"""Maximum number of cached descriptions."""


@dataclass(frozen=True)
class Description:
    """A model as Ollama describes it.

    Attributes
    ----------
    details : mapping
        Container, family, number of parameters, and weight format.
    info : mapping
        Numbers and strings of the metadata, under their GGUF names.
    template : str
        The chat template.
    capabilities : tuple of str
        `completion`; `insert`, if the vocabulary has fill-in-the-middle tokens; `tools` and `thinking`, if the template
        supports them.
    """

    details: Mapping[str, Any]
    info: Mapping[str, Any]
    template: str
    capabilities: tuple[str, ...]


def files_of(path: Path) -> list[Path]:
    """Return the files of a model: a single file, or those in its folder."""
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]


def _version(path: Path) -> int:
    """Return a value that changes whenever a model's files change."""
    return max(file.stat().st_mtime_ns for file in files_of(path))


def describe(path: Path) -> Description:
    """Describe the model in a file or folder.

    Raises
    ------
    IntactError
        If it cannot be read.
    """
    return _describe(path, _version(path))


@lru_cache(KEPT)
def _describe(path: Path, _version: int) -> Description:
    with open_checkpoint(path) as checkpoint:
        templates, can_fill = _read_tokenizer(checkpoint)
        family = find_architecture(checkpoint).gguf
        source = "".join(templates)
        parameters = sum(prod(tensor.shape) for tensor in checkpoint.tensors.values())
        details = {
            "parent_model": "",
            "format": checkpoint.format,
            "family": family,
            "families": [family],
            "parameter_size": _rounded(parameters),
            "quantization_level": _weight_format(checkpoint),
        }
        info = {"general.architecture": family, "general.parameter_count": parameters, **_info(checkpoint, family)}
    able = {"completion": True, "insert": can_fill}
    able |= {"tools": find_format(source) is not None, "thinking": can_think(source)}
    capabilities = tuple(name for name, is_able in able.items() if is_able)
    return Description(details, info, templates[0] if templates else "", capabilities)


def _read_tokenizer(checkpoint: Checkpoint) -> tuple[list[str], bool]:
    """Return the chat templates, and true if there are fill-in-the-middle tokens.

    A GGUF file's tokenizer is not built, since that would take seconds.
    """
    if checkpoint.format == "gguf":
        metadata = checkpoint.metadata
        keys = [key for key in sorted(metadata) if key == _TEMPLATE or key.startswith(_TEMPLATE + ".")]
        return [str(metadata[key]) for key in keys], infill.read_gguf(metadata, str(checkpoint.path)) is not None
    tokenizer = Tokenizer.from_checkpoint(checkpoint)
    template = tokenizer.chat_template
    return [] if template is None else list(template.sources), tokenizer.infill is not None


def _info(checkpoint: Checkpoint, family: str) -> dict[str, Any]:
    if checkpoint.format == "gguf":
        return {
            name: value
            for name, value in checkpoint.metadata.items()
            if isinstance(value, str | int | float) and not name.startswith(_TEMPLATE)
        }
    config = checkpoint.metadata.get("text_config") or checkpoint.metadata
    return {f"{family}.{gguf}": config[name] for name, gguf in _GGUF_NAMES.items() if name in config}


def _rounded(count: int) -> str:
    """Format a count in Ollama's style, such as ``134.52M``."""
    return next((f"{count / unit:.4g}{letter}" for unit, letter in _UNITS if count >= unit), str(count))


def _weight_format(checkpoint: Checkpoint) -> str:
    """Return the name of a GGUF file's mixed format, or else of the format that accounts for the most bytes."""
    file_type = checkpoint.metadata.get("general.file_type")
    if checkpoint.format == "gguf" and isinstance(file_type, int) and file_type in _FILE_TYPES:
        return _FILE_TYPES[file_type]
    sizes = Counter[str]()
    for tensor in checkpoint.tensors.values():
        sizes[tensor.kind] += tensor.data.nbytes
    return sizes.most_common(1)[0][0]


class Digests:
    """SHA-256 digests of models' files, each computed once, even if the clients that request it disconnect."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[Path, int], asyncio.Task[str]] = {}

    async def find(self, path: Path) -> str:
        """Return the hexadecimal digest of a file, or of the names and digests of a folder's files.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        key = path, _version(path)
        task = self._tasks.get(key)
        if task is None or (task.done() and task.exception()):
            task = self._tasks[key] = asyncio.create_task(asyncio.to_thread(_digest, path))
        return await asyncio.shield(task)


def _digest(path: Path) -> str:
    if not path.is_dir():
        return sha256(path)
    lines = "".join(f"{sha256(file)}  {file.name}\n" for file in files_of(path))
    return hashlib.sha256(lines.encode()).hexdigest()
