"""GGUF, versions 2 and 3, little-endian.

A header of metadata (typed key-value pairs) and tensor descriptions, then the tensors' bytes, aligned. The header is
parsed in one pass; tensors are views into the mapped file. Before anything is allocated, every count and length is
checked against the remaining bytes, and every object against a memory budget. The `gguf` package takes seconds and
gigabytes to read the same files, so it serves as the tests' oracle rather than as the reader.

Source: the GGUF specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import mmap
import struct
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from intact._base.errors import FormatError
from intact.checkpoints.formats.metadata import Strings
from intact.checkpoints.formats.tensor import HEADER_MEMORY, Tensor, byte_length, map_file, quote_name
from intact.numerics.weight_formats import FORMATS

MAGIC: Final = b"GGUF"
ALIGNMENT: Final = 32
LONGEST_NAME: Final = 65535
LONGEST_STRING: Final = 16 << 20
MOST_AXES: Final = 4
DEEPEST_ARRAY: Final = 4

_PLAIN_KINDS: Final = {24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64"}
TENSOR_KINDS: Final = dict(sorted((_PLAIN_KINDS | {form.gguf: name for name, form in FORMATS.items()}).items()))
"""Type numbers in the file, with their kinds."""

UNSUPPORTED_KINDS: Final = {
    4: "Q4_2",
    5: "Q4_3",
    9: "Q8_1",
    15: "Q8_K",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
    40: "NVFP4",
    41: "Q1_0",
}
"""Names of unsupported types, by number, for error messages."""

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_BOOL, _STRING, _ARRAY = 7, 8, 9
_NUMBERS: Final = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_VALUE_TYPES: Final = "one of the value types 0 to 12"

# Memory cost of objects, in addition to the characters or numbers that they hold.
_STRING_COST, _VALUE_COST, TENSOR_COST = 56, 256, 1024
_CHARACTER_COST = 4


class Contents(NamedTuple):
    """The contents of a GGUF file."""

    metadata: dict[str, Any]
    """Numbers are int, float or bool, and strings are str; arrays of strings are `Strings`, arrays of numbers are
    read-only NumPy arrays of their type, and arrays of arrays are lists.
    """
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class SplitPart:
    """Position of a file within a split model."""

    number: int
    count: int


_WHOLE: Final = SplitPart(0, 1)


class _Reader:
    """A position in the header, with the checks applied to every read."""

    def __init__(self, buffer: mmap.mmap | bytes, path: Path, memory: int) -> None:
        self.buffer = buffer
        self.path = path
        self.size = len(buffer)
        self.offset = 0
        self.memory = memory

    def error(self, where: str, wrong: str, right: str, offset: int | None = None) -> FormatError:
        return FormatError(
            f"{self.path}: {where}, byte {self.offset if offset is None else offset}: {wrong}; expected {right}"
        )

    def take(self, count: int, where: str) -> int:
        """Skip `count` bytes and return their start."""
        begin = self.offset
        if count > self.size - begin:
            raise self.error(
                where,
                f"{count} bytes are needed",
                f"at most the {self.size - begin} that remain (is the file truncated?)",
            )
        self.offset = begin + count
        return begin

    def charge(self, cost: int, where: str) -> None:
        self.memory -= cost
        if self.memory < 0:
            raise self.error(
                where, f"the header needs more than {HEADER_MEMORY >> 20} MiB of memory", "a smaller header"
            )

    def u32(self, where: str) -> int:
        return int(_U32.unpack_from(self.buffer, self.take(4, where))[0])

    def u64(self, where: str) -> int:
        return int(_U64.unpack_from(self.buffer, self.take(8, where))[0])

    def count(self, where: str, least: int) -> int:
        """Read a count of items that take at least `least` bytes each."""
        begin = self.offset
        count = self.u64(where)
        most = (self.size - self.offset) // least
        if count > most:
            raise self.error(
                where, f"the count is {count}", f"at most {most}, which is all the file has room for", begin
            )
        return count

    def string(self, where: str, longest: int = LONGEST_STRING) -> str:
        begin = self.offset
        length = self.u64(where)
        if length > longest:
            raise self.error(where, f"a string has {length} bytes", f"at most {longest}", begin)
        self.charge(_STRING_COST + _CHARACTER_COST * length, where)
        begin = self.take(length, where)
        try:
            return self.buffer[begin : self.offset].decode()
        except UnicodeDecodeError as error:
            raise self.error(where, "a string is not UTF-8", "valid UTF-8", begin + error.start) from error

    def strings(self, where: str) -> Strings:
        """Read an array of strings; vocabularies are long, so this loop has to be fast."""
        count = self.count(where, 8)
        self.charge(_STRING_COST * count, where)
        buffer, unpack, offset = self.buffer, _U64.unpack_from, self.offset
        stop = min(self.size, offset + 8 * count + self.memory // _CHARACTER_COST)
        strings = Strings()
        try:
            for _ in range(count):
                begin = offset + 8
                end = begin + unpack(buffer, offset)[0]
                if end > stop:
                    break
                text = buffer[begin:end]
                text.decode()
                strings.add(text)
                offset = end
        except (struct.error, UnicodeDecodeError):
            pass
        where = f"{where}, element {len(strings)} of {count}" if len(strings) < count else where
        self.charge(_CHARACTER_COST * (offset - self.offset - 8 * len(strings)), where)
        self.offset = offset
        if len(strings) < count:
            self.string(where)  # raises a precise error
            raise self.error(where, "the strings of the header are too long", "a smaller header")
        return strings

    def numbers(self, dtype: str, count: int, where: str) -> npt.NDArray[Any]:
        size = np.dtype(dtype).itemsize
        if count * size > self.size - self.offset:
            self.take(count * size, where)
        self.charge(_VALUE_COST + count * size, where)
        values = np.frombuffer(self.buffer, dtype, count, self.take(count * size, where)).copy()
        values.flags.writeable = False
        return values

    def bools(self, count: int, where: str) -> npt.NDArray[np.bool_]:
        begin = self.offset
        values = self.numbers("<u1", count, where)
        wrong = np.flatnonzero(values > 1)
        if wrong.size:
            at = int(wrong[0])
            raise self.error(where, f"a bool has the value {values[at]}", "0 or 1", begin + at)
        return values.view(np.bool_)

    def array(self, where: str, depth: int) -> Any:
        begin = self.offset
        kind = self.u32(where)
        if kind == _STRING:
            return self.strings(where)
        if kind == _ARRAY:
            if depth == DEEPEST_ARRAY:
                raise self.error(where, "arrays are nested too deeply", f"at most {DEEPEST_ARRAY} levels", begin)
            count = self.count(where, 12)
            self.charge(_VALUE_COST * count, where)
            return [self.array(where, depth + 1) for _ in range(count)]
        if kind == _BOOL:
            return self.bools(self.count(where, 1), where)
        if kind not in _NUMBERS:
            raise self.error(where, f"unknown type {kind} of array elements", _VALUE_TYPES, begin)
        return self.numbers(_NUMBERS[kind], self.count(where, 1), where)

    def value(self, where: str) -> Any:
        begin = self.offset
        kind = self.u32(where)
        if kind == _STRING:
            return self.string(where)
        if kind == _ARRAY:
            return self.array(where, 1)
        if kind == _BOOL:
            return bool(self.bools(1, where)[0])
        if kind not in _NUMBERS:
            raise self.error(where, f"unknown value type {kind}", _VALUE_TYPES, begin)
        return self.numbers(_NUMBERS[kind], 1, where)[0].item()


class _Description(NamedTuple):
    name: str
    kind: str
    shape: tuple[int, ...]
    length: int
    offset: int
    """Offset from the start of the data."""
    at: int
    """Offset of the description in the file."""


def _read_start(reader: _Reader) -> tuple[int, int]:
    """Check magic and version; return the numbers of tensors and of metadata pairs."""
    magic = bytes(reader.buffer[:4])
    if magic != MAGIC:
        raise reader.error("magic", f"the file starts with {magic!r}", f"a GGUF file, which starts with {MAGIC!r}")
    reader.offset = 4
    version = reader.u32("version")
    if version & 0xFFFF == 0 and version:
        raise reader.error("version", "the file is big-endian", "a little-endian GGUF file of version 2 or 3", 4)
    if version not in (2, 3):
        raise reader.error("version", f"the GGUF version is {version}", "version 2 or 3 (convert the model again)", 4)
    tensors = reader.count("number of tensors", 24)
    return tensors, reader.count("number of metadata keys", 13)


def _read_metadata(reader: _Reader, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for index in range(count):
        begin = reader.offset
        reader.charge(_VALUE_COST, f"key {index} of {count}")
        key = reader.string(f"key {index} of {count}", LONGEST_NAME)
        where = f"key {quote_name(key)}"
        if key in metadata:
            raise reader.error(where, "the key occurs twice", "each key once", begin)
        metadata[key] = reader.value(where)
    return metadata


def read_pairs(path: str | PathLike[str]) -> dict[str, bytes]:
    """Return each metadata pair of a file, by key, as its raw bytes: key, type and value.

    Raises
    ------
    FormatError
        If the file cannot be read, or is truncated or damaged.
    """
    reader = _Reader(map_file(Path(path)), Path(path), HEADER_MEMORY)
    _, count = _read_start(reader)
    pairs = {}
    for index in range(count):
        begin = reader.offset
        key = reader.string(f"key {index} of {count}", LONGEST_NAME)
        reader.value(f"key {quote_name(key)}")
        pairs[key] = bytes(reader.buffer[begin : reader.offset])
    return pairs


def _alignment(reader: _Reader, metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise reader.error("key 'general.alignment'", f"the value is {alignment!r:.80}", "a power of two")
    return alignment


def _check_part(reader: _Reader, metadata: dict[str, Any], part: SplitPart) -> None:
    """Refuse a file that is not the part of a split model indicated by its name."""
    count, number = metadata.get("split.count", 0), metadata.get("split.no", 0)
    if type(count) is not int or max(count, 1) != part.count:
        right = "a single file" if part.count == 1 else f"{part.count}, as in its name"
        if part.count == 1:
            right += ", or all of them in one folder under names such as model-00001-of-00003.gguf"
        raise reader.error("key 'split.count'", f"the model is split into {count!r:.80} files", right)
    if part.count > 1 and (type(number) is not int or number != part.number):
        raise reader.error("key 'split.no'", f"the value is {number!r:.80}", f"{part.number}, as in the file's name")


def _read_description(reader: _Reader, where: str) -> _Description:
    at = reader.offset
    reader.charge(TENSOR_COST, where)
    name = reader.string(where, LONGEST_NAME)
    where = f"tensor {quote_name(name)}"
    begin = reader.offset
    axes = reader.u32(where)
    if axes > MOST_AXES:
        raise reader.error(where, f"the tensor has {axes} axes", f"at most {MOST_AXES}", begin)
    begin = reader.take(8 * axes, where)
    shape = struct.unpack_from(f"<{axes}Q", reader.buffer, begin)[::-1]
    if 0 in shape:
        raise reader.error(where, f"the shape is {shape}", "sizes of at least 1", begin)
    begin = reader.offset
    number = reader.u32(where)
    kind = TENSOR_KINDS.get(number)
    if kind is None:
        known = f" ({UNSUPPORTED_KINDS[number]})" if number in UNSUPPORTED_KINDS else ""
        supported = ", ".join(TENSOR_KINDS.values())
        raise reader.error(where, f"tensor type {number}{known} is not supported", f"one of {supported}", begin)
    length = byte_length(kind, shape)
    if length is None:
        raise reader.error(
            where, f"rows of shape {shape} do not divide into blocks of {kind}", "rows of whole blocks", begin
        )
    return _Description(name, kind, shape, length, offset=reader.u64(where), at=at)


def _read_tensors(reader: _Reader, count: int, alignment: int) -> dict[str, Tensor]:
    descriptions = [_read_description(reader, f"tensor {index} of {count}") for index in range(count)]
    start = -(-reader.offset // alignment) * alignment
    data = np.frombuffer(reader.buffer, np.uint8)
    data.flags.writeable = False
    tensors: dict[str, Tensor] = {}
    for name, kind, shape, length, offset, at in descriptions:
        where = f"tensor {quote_name(name)}"
        if name in tensors:
            raise reader.error(where, "the tensor occurs twice", "each tensor once", at)
        if offset % alignment:
            raise reader.error(where, f"the data offset is {offset}", f"a multiple of the alignment {alignment}", at)
        begin = start + offset
        if begin + length > reader.size:
            wrong = f"{length} bytes of {kind} data with shape {shape} begin at byte {begin}"
            raise reader.error(where, wrong, f"them to end by byte {reader.size} (is the file truncated?)", at)
        tensors[name] = Tensor(name, kind, shape, data[begin : begin + length])
    end, before = 0, ""
    for name, _, _, length, offset, at in sorted(descriptions, key=lambda description: description.offset):
        if offset < end:
            wrong = f"the data at offset {offset} overlaps that of tensor {quote_name(before)}"
            raise reader.error(f"tensor {quote_name(name)}", wrong, f"an offset of at least {end}", at)
        end, before = offset + length, name
    return tensors


def parse_gguf(
    buffer: mmap.mmap | bytes, path: Path, part: SplitPart = _WHOLE, memory: int = HEADER_MEMORY
) -> Contents:
    """Parse a GGUF file that is already in memory.

    Parameters
    ----------
    path : Path
        The file, used only in error messages.
    part : SplitPart
        Position in a split model (`intact.checkpoints.formats.gguf_parts` reads all parts); by default a whole file.
    memory : int
        Maximum bytes for the objects created from the header.

    Raises
    ------
    FormatError
        If the buffer is not a valid GGUF file of a supported kind, or is a different part.
    """
    reader = _Reader(buffer, path, memory)
    tensors, keys = _read_start(reader)
    metadata = _read_metadata(reader, keys)
    _check_part(reader, metadata, part)
    return Contents(metadata, _read_tensors(reader, tensors, _alignment(reader, metadata)))


def read_gguf(path: str | PathLike[str]) -> Contents:
    """Map a GGUF file and parse its header; the file stays mapped while any tensor is in use.

    Raises
    ------
    FormatError
        If the file cannot be read, is truncated or damaged, has a different version or byte order, or has a tensor of
        an unsupported type.
    """
    path = Path(path)
    return parse_gguf(map_file(path), path)
