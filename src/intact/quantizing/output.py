"""A checkpoint like another one, with tensors of its own: a folder of safetensors with the other's description."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from intact.formats import Checkpoint, Tensor
from intact.formats.checkpoint import METADATA_FILE
from intact.formats.gguf import read_pairs
from intact.formats.gguf_writer import write_gguf
from intact.formats.safetensors import Stored, write_safetensors
from intact.numerics.integers import INTEGER, to_bytes
from intact.numerics.weights import from_blocks
from intact.weights import BLOCK_FORMATS, Bytes

KEPT: Final = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
               "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")  # fmt: skip
"""Files of a folder of safetensors that go with the tensors."""
MODEL_FILE: Final = "model.safetensors"


def write_checkpoint(
    like: Checkpoint,
    tensors: Sequence[Stored],
    read: Callable[[str], bytes | Bytes],
    folder: Path,
    about: Mapping[str, str],
) -> None:
    """Write a model into a folder, which is made anew.

    Parameters
    ----------
    like : Checkpoint
        Whose configuration, tokenizer and chat template the model has.
    tensors, read
        As for `write_safetensors`.
    about : mapping
        Metadata of the tensors' file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_safetensors(folder / MODEL_FILE, tensors, read, about)
    if like.format == "gguf":
        source = like.folder / METADATA_FILE if like.path.is_dir() or like.path.suffix == ".safetensors" else like.path
        left_out = ("split.", "general.alignment")
        pairs = {key: pair for key, pair in read_pairs(source).items() if not key.startswith(left_out)}
        write_gguf(folder / METADATA_FILE, pairs)
        return
    for name in KEPT:
        if (like.folder / name).is_file():
            shutil.copyfile(like.folder / name, folder / name)


def storable(tensor: Tensor) -> Tensor:
    """Return a tensor as safetensors can hold it: matrices of block formats as integer weights."""
    if tensor.kind in BLOCK_FORMATS and len(tensor.shape) == 2:
        data = to_bytes(from_blocks(tensor.kind, tensor.data, (tensor.shape[0], tensor.shape[1])))
    elif tensor.kind == INTEGER:
        data = tensor.data
    else:
        return tensor
    return Tensor(tensor.name, "U8", data.shape, data)
