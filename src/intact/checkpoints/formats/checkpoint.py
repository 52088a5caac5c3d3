"""A model on disk, in any file format."""

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self

from intact._base.errors import FormatError
from intact._base.memory import trim_heap
from intact._base.system import release_pages
from intact.checkpoints.formats.gguf import MAGIC, read_gguf
from intact.checkpoints.formats.gguf_parts import part_paths, read_parts
from intact.checkpoints.formats.pytorch import ARCHIVE, MAIN_FILE, read_pytorch
from intact.checkpoints.formats.quantised import CONFIG_KEY, quantisation, read_quantised
from intact.checkpoints.formats.safetensors import INDEX_SUFFIX, read_json, read_safetensors, read_shards
from intact.checkpoints.formats.tensor import Tensor, map_file, mapped_file

_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
METADATA_FILE = "metadata.gguf"
"""A GGUF file without tensors next to a safetensors file; its metadata replaces config.json."""
_PYTORCH_INDEX = MAIN_FILE + ".index.json"
_EXPECTED = "a .gguf file, a .safetensors or pytorch_model.bin file next to a config.json, or a folder of these"


class Checkpoint:
    """Metadata and tensors of a model. A context manager that closes the checkpoint on exit.

    Parameters
    ----------
    path : Path
        The file; the folder if the tensors are in several shards.
    format : {'gguf', 'safetensors'}
        Naming scheme of tensors and metadata: GGUF, or Hugging Face with a config.json, which also applies to
        pytorch_model.bin.
    metadata : mapping
        The keys of a GGUF file (see `intact.checkpoints.formats.gguf.Contents`), or the parsed config.json.
    tensors : mapping of str to Tensor
        Tensors by name, in the order of the file.
    """

    def __init__(
        self,
        path: Path,
        format: Literal["gguf", "safetensors"],  # noqa: A002
        metadata: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
    ) -> None:
        self.path = path
        self.format = format
        self.metadata: Mapping[str, Any] = MappingProxyType(dict(metadata))
        self.tensors: Mapping[str, Tensor] = MappingProxyType(dict(tensors))

    @property
    def folder(self) -> Path:
        """Folder of the model's other files, such as tokenizer.json."""
        return self.path if self.path.is_dir() else self.path.parent

    def close(self) -> None:
        """Drop the tensors. A file is unmapped when its last view is dropped, so existing views stay valid."""
        self.tensors = MappingProxyType({})

    def rest(self) -> None:
        """Release memory: pages of mapped files, which are reread when needed, and unused heap.

        Reading metadata and building a tokenizer temporarily takes tens of megabytes, which the heap would otherwise
        keep.
        """
        parts = (part for tensor in self.tensors.values() for part in tensor.stored)
        maps = {id(found): found for part in parts if (found := mapped_file(part)) is not None}
        for found in maps.values():
            release_pages(found)
        trim_heap()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, {self.format}, {len(self.tensors)} tensors)"


def _main_file(folder: Path) -> Path:
    """Choose a folder's main file: a single file before an index; safetensors, then GGUF, then pytorch_model.bin."""
    for name in ("model.safetensors", "model" + INDEX_SUFFIX):
        if (folder / name).is_file():
            return folder / name
    names = sorted(item.name for item in folder.iterdir())
    for suffix in (INDEX_SUFFIX, ".safetensors", ".gguf"):
        found = [name for name in names if name.endswith(suffix)]
        if len(found) > 1 and found == [part.name for part in part_paths(folder / found[0])]:
            return folder / found[0]
        if len(found) > 1:
            raise FormatError(
                f"{folder} contains {len(found)} {suffix} files ({', '.join(found)[:200]}); "
                "expected the path of one of them"
            )
        if found:
            return folder / found[0]
    for name in (MAIN_FILE, _PYTORCH_INDEX):
        if name in names:
            return folder / name
    raise FormatError(f"{folder} contains no model; expected {_EXPECTED}")


def open_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Open a model without reading its tensors.

    Parameters
    ----------
    path : path
        A GGUF file (the first part of a split model); a safetensors or PyTorch file, or an index of shards, next to its
        config.json; or a folder with one of these.

    Raises
    ------
    FormatError
        If the file is missing, truncated, damaged or unsupported.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FormatError(f"{path}: no such file or folder; expected {_EXPECTED}")
        main = _main_file(path) if path.is_dir() else path
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error}); expected {_EXPECTED}") from error
    if main.name.endswith(INDEX_SUFFIX):
        return _folder(main.parent, main, read_shards(main))
    if main.name == _PYTORCH_INDEX:
        return _folder(main.parent, main, read_shards(main, ".bin", read_pytorch))
    if main.suffix == ".safetensors":
        if _SHARD.search(main.name):
            raise FormatError(
                f"{main} is one of several shards; expected the folder or the index that lists all shards"
            )
        own = main.with_name(METADATA_FILE)
        if own.is_file():
            return Checkpoint(main, "gguf", read_gguf(own).metadata, read_safetensors(main))
        return _folder(main, main, read_safetensors(main))
    start = bytes(map_file(main)[:4])
    if main.name == MAIN_FILE or start == ARCHIVE:
        return _folder(main, main, read_pytorch(main))
    if main.suffix == ".gguf" or start == MAGIC:
        contents = read_parts(main)
        return Checkpoint(main, "gguf", contents.metadata, contents.tensors)
    raise FormatError(f"{main} is not a GGUF, safetensors or PyTorch file; expected {_EXPECTED}")


def model_files(path: Path) -> list[Path]:
    """Return the files of a model: all files of its folder, all parts of a split GGUF model, or the single file."""
    return sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else part_paths(path)


def _folder(path: Path, main: Path, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Return a checkpoint from tensors next to a config.json, with each quantised matrix as one tensor."""
    config = _config(main)
    settings = quantisation(main.parent, config)
    if settings is not None:
        tensors = read_quantised(settings, tensors, main)
        config.pop(CONFIG_KEY, None)  # it describes the tensors before conversion
    return Checkpoint(path, "safetensors", config, tensors)


_CONSTANTS: Final = {name: {"__float__": name} for name in ("NaN", "Infinity", "-Infinity")}
"""Numbers that Transformers 4 writes in Python's notation, in the notation of Transformers 5."""


def _config(main: Path) -> dict[str, Any]:
    config = main.parent / "config.json"
    if not config.is_file():
        raise FormatError(f"{config} is missing; expected the model's config.json next to {main.name}")
    return read_json(config, "the configuration", _CONSTANTS.__getitem__)
