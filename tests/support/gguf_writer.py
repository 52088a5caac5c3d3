"""A small writer of GGUF files for tests: any metadata, any tensors, any bytes.

The file is made of pieces (one for every integer, string or block of data), so that a fuzzer can change its structure.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intact.checkpoints.formats.gguf import TENSOR_KINDS, read_gguf

Tensors = Mapping[str, tuple[str, Sequence[int], bytes]]

_NUMBERS = {"u1": 0, "i1": 1, "u2": 2, "i2": 3, "u4": 4, "i4": 5, "f4": 6, "b1": 7, "u8": 10, "i8": 11, "f8": 12}
_STRING, _ARRAY = 8, 9
_TYPE_NUMBERS = {kind: number for number, kind in TENSOR_KINDS.items()}


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def _string(text: str | bytes) -> list[bytes]:
    data = text.encode() if isinstance(text, str) else text
    return [_u64(len(data)), data]


def _integer(value: int) -> np.generic:
    """Give a Python integer the type that converters give it: u32 if it fits, else i32, i64 or u64."""
    fitting = (np.uint32, np.int32, np.int64, np.uint64)
    return next(dtype(value) for dtype in fitting if np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


def _typed(value: Any) -> tuple[int, list[bytes]]:
    """Value type and pieces of a value."""
    if isinstance(value, str | bytes):
        return _STRING, _string(value)
    if isinstance(value, np.ndarray):
        dtype = value.dtype.newbyteorder("<")
        return _ARRAY, [_u32(_NUMBERS[dtype.str[1:]]), _u64(value.size), value.astype(dtype).tobytes()]
    if isinstance(value, Sequence):
        items = [_typed(item) for item in value]
        kinds = {kind for kind, _ in items} or {_STRING}
        if len(kinds) > 1:
            raise TypeError(f"an array holds values of one type, got {value!r}")
        return _ARRAY, [_u32(kinds.pop()), _u64(len(items)), *(piece for _, pieces in items for piece in pieces)]
    if isinstance(value, bool):
        value = np.bool_(value)
    elif isinstance(value, int):
        value = _integer(value)
    elif isinstance(value, float):
        value = np.float32(value)
    return _NUMBERS[value.dtype.str[1:]], [value.astype(value.dtype.newbyteorder("<")).tobytes()]


def gguf_pieces(metadata: Mapping[str, Any], tensors: Tensors, version: int = 3) -> list[bytes]:
    """The file as pieces; see `write_gguf`."""
    alignment = int(metadata.get("general.alignment", 32))
    pieces = [b"GGUF", _u32(version), _u64(len(tensors)), _u64(len(metadata))]
    for key, value in metadata.items():
        kind, parts = _typed(value)
        pieces += [*_string(key), _u32(kind), *parts]
    offset = 0
    for name, (type_name, shape, data) in tensors.items():
        pieces += [*_string(name), _u32(len(shape)), *map(_u64, reversed(shape))]
        pieces += [_u32(_TYPE_NUMBERS[type_name]), _u64(offset)]
        offset += -(-len(data) // alignment) * alignment
    pieces.append(bytes(-sum(map(len, pieces)) % alignment))
    for _, _, data in tensors.values():
        pieces += [data, bytes(-len(data) % alignment)]
    return pieces


def gguf_bytes(metadata: Mapping[str, Any], tensors: Tensors, version: int = 3) -> bytes:
    """The file as bytes; see `write_gguf`."""
    return b"".join(gguf_pieces(metadata, tensors, version))


def write_gguf(path: Path, metadata: Mapping[str, Any], tensors: Tensors, version: int = 3) -> Path:
    """Write a GGUF file.

    metadata: str, bool, int (u32 if it fits), float (f32), NumPy scalars and arrays of any type, (nested) lists.
    tensors: name -> (kind such as "Q4_0", shape in NumPy order, bytes); the bytes are written as given.
    """
    path.write_bytes(gguf_bytes(metadata, tensors, version))
    return path


def split_gguf(whole: Path, count: int, folder: Path) -> list[Path]:
    """Write a GGUF file as so many parts, as llama.cpp does: metadata in the first one, tensors in order."""
    metadata, tensors = read_gguf(whole)
    names = list(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        own = names[number * len(names) // count : (number + 1) * len(names) // count]
        split = {
            "split.no": np.uint16(number),
            "split.count": np.uint16(count),
            "split.tensors.count": np.int32(len(names)),
        }
        path = folder / f"{whole.stem}-{number + 1:05d}-of-{count:05d}.gguf"
        parts = {name: (tensors[name].kind, tensors[name].shape, tensors[name].data.tobytes()) for name in own}
        paths.append(write_gguf(path, (metadata if number == 0 else {}) | split, parts))
    return paths
