"""Write a checkpoint based on another one, with new tensors: a safetensors folder or a GGUF file."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact._base.files import named_errors, read_text, write_whole
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.checkpoint import METADATA_FILE
from intact.checkpoints.formats.gguf import read_pairs
from intact.checkpoints.formats.gguf_writer import FILE_TYPES, NUMBERS, QUANTIZATION_VERSION, pair, write_gguf
from intact.checkpoints.formats.safetensors import Stored, write_safetensors
from intact.checkpoints.formats.stored_blocks import blocks_to_bytes
from intact.models import StoredTogether
from intact.numerics.integers import INTEGER
from intact.numerics.weight_formats import BLOCK_FORMATS, Bytes

KEPT: Final = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
               "merges.txt", "vocab.txt", "special_tokens_map.json", "added_tokens.json",
               "chat_template.jinja")  # fmt: skip
"""Files that are copied along with the tensors of a safetensors folder."""
MODEL_FILE: Final = "model.safetensors"


def write_checkpoint(
    like: Checkpoint,
    tensors: Sequence[Stored],
    read: Callable[[str], bytes | Bytes],
    folder: Path,
    about: Mapping[str, str],
) -> None:
    """Write a model into a folder; an existing folder is deleted first.

    Parameters
    ----------
    like : Checkpoint
        The checkpoint that supplies the configuration, tokenizer and chat template.
    tensors, read
        As for `write_safetensors`.
    about : mapping
        Metadata of the tensors' file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_safetensors(folder / MODEL_FILE, tensors, read, about)
    if like.format == "gguf":
        write_gguf(folder / METADATA_FILE, _pairs(like))
        return
    for name in KEPT:
        if (like.folder / name).is_file():
            with named_errors(folder / name):
                shutil.copyfile(like.folder / name, folder / name)
    config = folder / "config.json"
    own = json.loads(read_text(config)) if config.is_file() else {}
    changed = {key: value for key, value in like.metadata.items() if key in own and own[key] != value}
    if changed:  # factors that `Decoder.split` multiplied into matrices
        write_whole(config, json.dumps(own | changed, indent=1))


def is_gguf(out: Path) -> bool:
    """Return true if a model with this name is to be written as a GGUF file."""
    return out.suffix == ".gguf"


def check_gguf(like: Checkpoint, kept: Iterable[Tensor]) -> None:
    """Raise ParameterError if a checkpoint with these unchanged tensors cannot be written as a GGUF file."""
    if like.format != "gguf":
        raise ParameterError(
            f"{like.path}: a GGUF file needs GGUF metadata, which a config.json does not have; expected a GGUF file as "
            "source, or a folder as output"
        )
    for tensor in kept:
        if tensor.kind not in NUMBERS:
            raise ParameterError(
                f"tensor {tensor.name} stays {tensor.kind}, which GGUF does not support; give a GGUF type for "
                "embeddings, or a folder as output"
            )


def write_gguf_checkpoint(
    like: Checkpoint, tensors: Sequence[Tensor], path: Path, record: str, together: Sequence[StoredTogether] = ()
) -> None:
    """Write a model as a GGUF file with the metadata of another model.

    Parameters
    ----------
    like : Checkpoint
        A checkpoint that `check_gguf` accepts.
    record : str
        A description of the quantisation, stored under the key `intact.quantization`.
    together : sequence of StoredTogether
        Groups of tensors that the file stores as one, like the source; all tensors of a group have the same type.
    """
    weights: Counter[str] = Counter()
    for tensor in tensors:
        if len(tensor.shape) > 1:
            weights[tensor.kind] += prod(tensor.shape)
    most = max(weights, key=lambda kind: (weights[kind], kind in BLOCK_FORMATS))
    pairs = {key: data for key, data in _pairs(like).items() if not key.startswith(("quantize.", "intact."))}
    pairs["general.file_type"] = pair("general.file_type", FILE_TYPES[most])
    pairs["general.quantization_version"] = pair("general.quantization_version", QUANTIZATION_VERSION)
    pairs["intact.quantization"] = pair("intact.quantization", record)
    parts = {tensor.name: tensor for tensor in tensors}
    wholes = {name: one for one in together for name in one.parts}
    stored, data = list[Stored](), dict[str, list[Tensor]]()
    for tensor in tensors:
        one = wholes.get(tensor.name, StoredTogether(tensor.name, tensor.shape, (tensor.name,)))
        if one.name not in data:
            data[one.name] = [parts[name] for name in one.parts]
            stored.append(Stored(one.name, tensor.kind, one.shape, sum(part.data.nbytes for part in data[one.name])))

    def read(name: str) -> Bytes:
        found = [part.data for part in data[name]]
        return found[0] if len(found) == 1 else np.concatenate(found)

    write_gguf(path, pairs, stored, read)


def _pairs(like: Checkpoint) -> dict[str, bytes]:
    """Return the GGUF metadata of a checkpoint."""
    source = like.folder / METADATA_FILE if like.path.is_dir() or like.path.suffix == ".safetensors" else like.path
    left_out = ("split.", "general.alignment")
    return {key: data for key, data in read_pairs(source).items() if not key.startswith(left_out)}


def storable(tensor: Tensor) -> Tensor:
    """Convert a tensor to a form that safetensors can store: block-format matrices and integer weights become bytes."""
    if tensor.kind in BLOCK_FORMATS and len(tensor.shape) == 2:
        data = blocks_to_bytes(tensor.kind, tensor.shape, tensor.data)
    elif tensor.kind == INTEGER:
        data = tensor.data
    else:
        return tensor
    return Tensor(tensor.name, "U8", data.shape, data)
