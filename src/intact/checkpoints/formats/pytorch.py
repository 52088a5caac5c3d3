"""PyTorch files (`torch.save` of a state dict: `pytorch_model.bin`, `.pt`, `.pth`), without PyTorch.

Such a file is a zip archive of raw numbers and a pickle, which is a program that builds objects. This reader interprets
only the few instructions that a state dict needs, to find names and locations of tensors, and rejects all others: no
code of the file is run. Tensors are views of the mapped file.

Source: the format, https://docs.pytorch.org/docs/stable/notes/serialization.html; the instructions, `pickletools`.
"""

from __future__ import annotations

import mmap
import pickletools
import struct
import zipfile
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from intact._base.errors import FormatError
from intact.checkpoints.formats.tensor import HEADER_MEMORY, Tensor, byte_length, map_file, quote_name

MAIN_FILE: Final = "pytorch_model.bin"
"""Name of a model's file in a folder, and prefix of the names of its shards' index."""
ARCHIVE: Final = b"PK\x03\x04"
"""First bytes of a file."""
_LONGEST_PICKLE: Final = HEADER_MEMORY // 64
_KINDS: Final = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
_TENSOR, _PARAMETER, _DICT = (
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
)
_GLOBALS: Final = {_TENSOR, _PARAMETER, _DICT, *(f"torch {name}" for name in _KINDS)}
_AS_THEY_ARE: Final = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINFLOAT"}
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ENTRY: Final = struct.Struct("<4s22xHH")  # local file header of an archive: its magic and the lengths of two strings
_SAVE_AGAIN: Final = (
    "expected a state dict written by torch.save of PyTorch 1.6 or later; or save it again as safetensors"
)


class _Global(NamedTuple):
    """A Python name that the pickle refers to."""

    name: str


class _Storage(NamedTuple):
    """A file of numbers in the archive."""

    kind: str
    key: str


class _View(NamedTuple):
    """A tensor: a location in a storage, in elements."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_pytorch(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Map one file and find its tensors.

    Raises
    ------
    FormatError
        If the file cannot be read, is truncated or damaged, was written by PyTorch before 1.6, or contains anything but
        named tensors of plain kinds with contiguous rows.
    """
    path = Path(path)
    buffer = map_file(path)
    if bytes(buffer[:4]) != ARCHIVE:
        raise FormatError(f"{path} is not a PyTorch archive; {_SAVE_AGAIN}")
    files, top = _files(path, buffer)
    if bytes(buffer[files.get(f"{top}/byteorder", slice(0, 0))]) not in (b"", b"little"):
        raise FormatError(f"{path} was written on a big-endian machine; {_SAVE_AGAIN}")
    try:
        found = _run(bytes(buffer[files[f"{top}/data.pkl"]]))
    except (ValueError, LookupError, TypeError, struct.error) as error:
        raise FormatError(f"{path}: the pickle is rejected: {error}; {_SAVE_AGAIN}") from error
    data = np.frombuffer(buffer, np.uint8)
    data.flags.writeable = False
    return {name: _tensor(path, name, view, data, files=files, top=f"{top}/data/") for name, view in found.items()}


def _files(path: Path, buffer: mmap.mmap | bytes) -> tuple[dict[str, slice], str]:
    """Return the locations of an archive's files, and the folder of its pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise FormatError(f"{path}: the archive cannot be read ({error}): is the file truncated?") from error
    files: dict[str, slice] = {}
    for entry in entries:
        header = bytes(buffer[entry.header_offset : entry.header_offset + _ENTRY.size])
        if len(header) < _ENTRY.size or not header.startswith(ARCHIVE):
            raise FormatError(
                f"{path}: no entry of the archive begins at byte {entry.header_offset}: is the file damaged?"
            )
        start = entry.header_offset + _ENTRY.size + sum(_ENTRY.unpack(header)[1:])
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise FormatError(f"{path}: {quote_name(entry.filename)} is compressed; PyTorch never compresses")
        if start + entry.file_size > len(buffer):
            raise FormatError(f"{path}: {quote_name(entry.filename)} extends beyond the end of the file")
        files[entry.filename] = slice(start, start + entry.file_size)
    pickles = [name for name in files if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise FormatError(f"{path}: the archive has {len(pickles)} data.pkl files; {_SAVE_AGAIN}")
    length = files[pickles[0]].stop - files[pickles[0]].start
    if length > _LONGEST_PICKLE:
        raise FormatError(f"{path}: the pickle has {length} bytes; expected at most {_LONGEST_PICKLE}")
    return files, pickles[0].removesuffix("/data.pkl")


def _run(pickle: bytes) -> dict[str, _View]:
    """Return the tensors that a pickle describes.

    Raises
    ------
    ValueError, LookupError, TypeError, struct.error
        If it is damaged, or is not a state dict.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memory: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    def last(count: int) -> list[Any]:
        if len(stack) < count + (marks[-1] if marks else 0):
            raise ValueError("it pops more values than the stack holds")
        values = stack[-count:]
        del stack[-count:]
        return values

    given: Any
    for operation, given, _ in pickletools.genops(pickle):
        name = operation.name
        if name in ("PROTO", "STOP"):
            pass
        elif name in _AS_THEY_ARE:
            stack.append(given)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "GLOBAL":
            if given not in _GLOBALS:
                raise ValueError(f"it names {quote_name(given)}, which does not occur in a state dict of plain tensors")
            stack.append(_Global(given))
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memory[given] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memory[given])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(last(int(name[-1]))))
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("SETITEM", "SETITEMS"):
            pairs = last(2) if name == "SETITEM" else since_mark()
            _set(stack[-1], pairs)
        elif name == "BINPERSID":
            stack.append(_storage(*last(1)))
        elif name == "REDUCE":
            stack.append(_made(*last(2)))
        elif name == "BUILD":
            last(1)  # the dictionary's attributes hold versions of modules
        else:
            raise ValueError(f"it uses the opcode {name}, which no state dict needs")
    (found,) = stack
    if not isinstance(found, dict):
        raise ValueError("it does not contain a dictionary")
    for name, value in found.items():
        if not isinstance(value, _View):
            raise ValueError(f"{quote_name(name)} is not a tensor")
    return found


def _set(target: object, pairs: list[Any]) -> None:
    """Set items of a dictionary whose keys are strings."""
    if not isinstance(target, dict) or len(pairs) % 2 or not all(isinstance(key, str) for key in pairs[::2]):
        raise ValueError("it has a dictionary whose keys are not strings")
    target.update(zip(pairs[::2], pairs[1::2], strict=True))


def _storage(given: object) -> _Storage:
    """Return the storage of a persistent identifier (class, file, original location, number of elements)."""
    if not (isinstance(given, tuple) and len(given) == 5 and given[0] == "storage" and isinstance(given[2], str)):
        raise ValueError("it refers to something that is not a storage")
    kind = given[1].name.removeprefix("torch ") if isinstance(given[1], _Global) else ""
    if kind not in _KINDS:
        raise ValueError("it refers to a storage of an unknown type")
    return _Storage(_KINDS[kind], given[2])


def _made(maker: object, given: object) -> object:
    """Return the result of calling one of the allowed names."""
    if not isinstance(maker, _Global) or not isinstance(given, tuple):
        raise ValueError("it calls something other than a name")
    if maker.name == _DICT and not given:
        return {}
    if maker.name == _PARAMETER and given and isinstance(given[0], _View):
        return given[0]
    if maker.name == _TENSOR and len(given) >= 4:
        storage, start, shape, strides = given[:4]
        if isinstance(storage, _Storage) and all(map(_naturals, ((start,), shape, strides))):
            return _View(storage, start, shape, strides)
    raise ValueError(f"it calls {maker.name} with arguments that PyTorch does not use")


def _naturals(value: object) -> bool:
    """Return true for a tuple of non-negative integers."""
    return isinstance(value, tuple) and all(type(one) is int and 0 <= one < 1 << 63 for one in value)


def _tensor(
    path: Path, name: str, view: _View, data: np.ndarray[Any, np.dtype[np.uint8]], files: Mapping[str, slice], top: str
) -> Tensor:
    """Return a tensor as a view of the file; refuse one that is not contiguous."""
    where = f"{path}: tensor {quote_name(name)}"
    kind, shape = view.storage.kind, view.shape
    if len(shape) > 32 or len(view.strides) != len(shape):
        raise FormatError(
            f"{where} has {len(shape)} sizes and {len(view.strides)} strides; expected equal numbers, at most 32"
        )
    if any(stride != dense for size, stride, dense in zip(shape, view.strides, _dense(shape), strict=True) if size > 1):
        raise FormatError(f"{where} is a view with strides {view.strides}; expected contiguous rows")
    if top + view.storage.key not in files:
        raise FormatError(f"{where}: the archive has no file {quote_name(top + view.storage.key)}")
    place = files[top + view.storage.key]
    size, length = byte_length(kind, (1,)) or 0, byte_length(kind, shape) or 0
    start = place.start + view.start * size
    if start + length > place.stop:
        raise FormatError(
            f"{where} ends at byte {start + length}; expected at most {place.stop}, the end of its storage"
        )
    return Tensor(name, kind, shape, data[start : start + length])


def _dense(shape: tuple[int, ...]) -> Iterator[int]:
    """Yield the strides of a contiguous tensor."""
    for axis in range(len(shape)):
        stride = 1
        for size in shape[axis + 1 :]:
            stride *= size
        yield stride
