"""Safetensors: a JSON header, then the tensors' bytes; one file, or shards listed by an index.

The header is parsed here instead of by the `safetensors` library because tensors must stay views into the mapped file:
for NumPy the library (0.8) copies every tensor into new memory and has no type for BF16, which most models use. Tests
compare this reader with the library.

Source: the format, https://github.com/huggingface/safetensors#format.
"""

import json
import mmap
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path, PureWindowsPath
from typing import Any, Final, NamedTuple

import numpy as np

from intact._base.errors import FormatError, ModelError
from intact._base.files import write_whole
from intact._base.strict_json import parse
from intact.checkpoints.formats.stored_blocks import blocks_from_bytes, starts_blocks
from intact.checkpoints.formats.tensor import HEADER_MEMORY, KINDS, Tensor, byte_length, map_file, quote_name
from intact.numerics.integers import INTEGER, read_header, starts_integers
from intact.numerics.weight_formats import Bytes

INDEX_SUFFIX: Final = ".safetensors.index.json"
LONGEST_JSON: Final = 16 << 20
# Memory costs in bytes: of a value; in addition, of an object and of a tensor; of a character in ASCII and other text.
_VALUE_COST, _OBJECT_COST, _TENSOR_COST = 120, 200, 1024
_ASCII_COST, _WIDE_COST = 3, 9
_SUPPORTED: Final = tuple(kind for kind, block in KINDS.items() if block.elements == 1)


def parse_json(text: bytes, path: Path, what: str, constant: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Parse a JSON object within the memory limit for headers.

    Parameters
    ----------
    text : bytes
        UTF-8.
    path : Path
        File that it came from, for error messages.
    what : str
        Description of the text, for error messages.
    constant : callable, optional
        As in `strict_json.parse`.

    Raises
    ------
    FormatError
        If the text is too long, is not strict JSON (`intact._base.strict_json.parse`), or is not an object.
    """
    objects = text.count(b"{")
    values = text.count(b",") + text.count(b"[") + objects
    memory = len(text) * (_ASCII_COST if text.isascii() else _WIDE_COST) + values * _VALUE_COST + objects * _OBJECT_COST
    if len(text) > LONGEST_JSON or memory > HEADER_MEMORY:
        raise FormatError(
            f"{path}: {what} has {len(text)} bytes and {values} values; "
            f"expected a size that fits in {HEADER_MEMORY >> 20} MiB of memory"
        )

    value = parse(text, f"{path}: {what}", error=FormatError, constant=constant)
    if not isinstance(value, dict):
        raise FormatError(f"{path}: {what} is a JSON {type(value).__name__}; expected an object")
    return value


def read_json(path: Path, what: str, constant: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Read a file that holds a JSON object; `constant` is as in `strict_json.parse`.

    Raises
    ------
    FormatError
        If the file is missing or unreadable, or holds anything else.
    """
    buffer = map_file(path)
    if len(buffer) > LONGEST_JSON:
        raise FormatError(f"{path}: {what} has {len(buffer)} bytes; expected at most {LONGEST_JSON}")
    return parse_json(bytes(buffer[:]), path, what, constant)


class Stored(NamedTuple):
    """A tensor to be written: name, dtype, shape, bytes."""

    name: str
    kind: str
    shape: tuple[int, ...]
    size: int

    def checked(self, data: bytes | Bytes) -> bytes:
        """Return the tensor's bytes; raise ValueError if their number does not match the declared size."""
        whole = bytes(data)
        if len(whole) != self.size:
            raise ValueError(f"tensor {self.name} has {len(whole)} bytes, but {self.size} were declared")
        return whole


class _Description(NamedTuple):
    name: str
    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _naturals(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value):
        return tuple(value)
    return None


def _description(name: str, value: object, path: Path, size: int) -> _Description:
    """Validate one entry of the header; `size` is the number of data bytes."""
    where = f"{path}: tensor {quote_name(name)}"
    if not isinstance(value, dict):
        raise FormatError(f"{where}: the entry is a {type(value).__name__}; expected dtype, shape and data_offsets")
    kind, shape, offsets = value.get("dtype"), _naturals(value.get("shape")), _naturals(value.get("data_offsets"))
    if not isinstance(kind, str) or kind not in _SUPPORTED:
        raise FormatError(
            f"{where}: the dtype is {kind!r:.80}, which is not supported; expected one of {', '.join(_SUPPORTED)}"
        )
    if shape is None or len(shape) > 32:
        raise FormatError(f"{where}: the shape is {value.get('shape')!r:.80}; expected a list of at most 32 sizes")
    if offsets is None or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
        raise FormatError(
            f"{where}: data_offsets is {value.get('data_offsets')!r:.80}; "
            f"expected [begin, end] within the {size} bytes of data (is the file truncated?)"
        )
    begin, end = offsets
    length = byte_length(kind, shape)
    if length != end - begin:
        raise FormatError(
            f"{where}: has {end - begin} bytes at offset {begin}; expected {length} for {kind} with shape {shape}"
        )
    return _Description(name, kind, shape, begin, end=end)


def read_safetensors(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Map one file and parse its header.

    Raises
    ------
    FormatError
        If the file cannot be read, is truncated or damaged, or has a tensor of an unsupported type.
    """
    path = Path(path)
    buffer, start, header = _read_header(path)
    header.pop("__metadata__", None)
    if len(header) * _TENSOR_COST > HEADER_MEMORY:
        raise FormatError(
            f"{path}: the header has {len(header)} tensors; expected at most {HEADER_MEMORY // _TENSOR_COST}"
        )
    size = len(buffer) - start
    descriptions = [_description(name, value, path, size) for name, value in header.items()]
    data = np.frombuffer(buffer, np.uint8)
    data.flags.writeable = False
    reached = 0
    for name, _, _, begin, end in sorted(descriptions, key=lambda description: (description.begin, description.end)):
        if begin != reached:
            raise FormatError(
                f"{path}: tensor {quote_name(name)} begins at offset {begin}; "
                f"expected {reached}, the end of the previous tensor"
            )
        reached = end
    if reached != size:
        raise FormatError(f"{path}: the tensors end at offset {reached}; expected {size}, the end of the file")
    tensors = (
        Tensor(name, kind, shape, data[start + begin : start + end]) for name, kind, shape, begin, end in descriptions
    )
    return {tensor.name: _matrix(tensor, path) for tensor in tensors}


def read_metadata(path: Path) -> dict[str, Any]:
    """Return `__metadata__` of a file's header; empty if there is none.

    Raises
    ------
    FormatError
        If the header cannot be read.
    """
    found = _read_header(path)[2].get("__metadata__", {})
    if not isinstance(found, dict):
        raise FormatError(f"{path}: __metadata__ is a {type(found).__name__}; expected an object")
    return found


def _read_header(path: Path) -> tuple[mmap.mmap | bytes, int, dict[str, Any]]:
    """Return the mapped file, the start of its data, and its header."""
    buffer = map_file(path)
    if len(buffer) < 8:
        raise FormatError(f"{path}: the file has {len(buffer)} bytes; expected a safetensors file of at least 8 bytes")
    (length,) = struct.unpack_from("<Q", buffer)
    start = 8 + length
    if start > len(buffer):
        raise FormatError(
            f"{path}: the header at byte 8 has {length} bytes; expected at most the {len(buffer) - 8} that remain "
            "(is the file truncated, or not a safetensors file?)"
        )
    if length > LONGEST_JSON:
        raise FormatError(f"{path}: the header at byte 8 has {length} bytes; expected at most {LONGEST_JSON}")
    return buffer, start, parse_json(buffer[8:start], path, "the header")


def _matrix(tensor: Tensor, path: Path) -> Tensor:
    """Convert bytes that hold an integer weight or blocks to a matrix of that kind; return other tensors unchanged."""
    if tensor.kind != "U8" or len(tensor.shape) != 1:
        return tensor
    try:
        if starts_blocks(tensor.data):
            return blocks_from_bytes(tensor.name, tensor.data)
        if not starts_integers(tensor.data):
            return tensor
        header = read_header(tensor.data)
    except (FormatError, ModelError) as error:
        raise FormatError(f"{path}: tensor {quote_name(tensor.name)}: {error}") from error
    return Tensor(tensor.name, INTEGER, (header.rows, header.columns), tensor.data)


def write_safetensors(
    path: Path, tensors: Sequence[Stored], read: Callable[[str], bytes | Bytes], metadata: Mapping[str, str]
) -> None:
    """Write a file, tensor by tensor, either completely or, on failure, not at all.

    Parameters
    ----------
    tensors : in the order of the file
    read : callable
        Returns the bytes of a tensor by name; called once per tensor, in order.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, kind, shape, size in tensors:
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data are aligned

    def parts() -> Iterator[bytes]:
        yield struct.pack("<Q", len(text)) + text
        for tensor in tensors:
            yield tensor.checked(read(tensor.name))

    write_whole(path, parts())


def _shard_path(folder: Path, name: object, index: Path, suffix: str) -> Path:
    """Return the path of a shard; refuse names that are not plain file names on every operating system."""
    plain = isinstance(name, str) and name == PureWindowsPath(name).name
    if not isinstance(name, str) or not plain or not name.isprintable() or not name.endswith(suffix):
        raise FormatError(
            f"{index}: the shard name {name!r:.80} is not allowed; "
            f"expected the plain name of a {suffix} file in the index's folder"
        )
    return folder / name


def read_shards(
    index: str | PathLike[str],
    suffix: str = ".safetensors",
    read: Callable[[Path], dict[str, Tensor]] = read_safetensors,
) -> dict[str, Tensor]:
    """Read the tensors listed in an index (`*.index.json`), each from the shard given there.

    Parameters
    ----------
    suffix : str
        Suffix of the shards' names.
    read : callable
        Reads a shard.

    Raises
    ------
    FormatError
        If the index or a shard cannot be read, a shard is not in the index's folder, or a shard lacks a tensor.
    """
    index = Path(index)
    weights = read_json(index, "the index").get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise FormatError(f"{index}: weight_map is missing or empty; expected an object of tensor names to file names")
    paths = [_shard_path(index.parent, shard, index, suffix) for shard in weights.values()]
    shards = {path.name: read(path) for path in dict.fromkeys(paths)}
    tensors: dict[str, Tensor] = {}
    for name, shard in weights.items():
        if name not in shards[shard]:
            raise FormatError(
                f"{index.parent / shard}: tensor {quote_name(name)} is missing, although {index.name} lists it there"
            )
        tensors[name] = shards[shard][name]
    return tensors
