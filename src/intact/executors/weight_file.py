"""A file with a model's packed matrices, mapped instead of held in memory (docs/engine.md).

The first page holds the magic number, the key, and the position and SHA-256 of an index. The matrices follow, each
starting on a page boundary, as the same bytes that the native executor holds in memory (native/runtime/weight.h),
identical on every tier. The index comes last: JSON with one member per matrix.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact._base.errors import FormatError
from intact._base.system import flush_and_forget, read_in_small_parts
from intact.checkpoints.formats.tensor import map_file, release
from intact.models.program import Program

FORMAT: Final = 1
"""Version of the file format and of the layout of packed matrices; it enters the digest that names a file."""
_MAGIC: Final = b"intact packed weights\n\0\0"
_HEAD: Final = struct.Struct("<24s32sQQ32s")
_PAGE: Final = 4096
_BLOCK: Final = 1 << 22
"""Number of bytes to hash at a time."""


def matrices_of(program: Program) -> list[str]:
    """Return the names of all matrices that may multiply a row, in program order, excluding those of adapters."""
    return list(dict.fromkeys(name for op in program.ops for name in op.matrices()))


def write_weights(file: BinaryIO, key: bytes, names: Iterable[str], packed: Callable[[str], _native.Weight]) -> None:
    """Write a file of packed matrices, keeping only one of them in memory at a time.

    Parameters
    ----------
    key : bytes
        32 bytes that identify the inputs from which the matrices are derived.
    packed : callable
        Returns the packed matrix of a given name.
    """
    index: dict[str, Any] = {}
    at = file.write(bytes(_PAGE))
    for name in names:
        stated, table, storage, numbers = packed(name).state()
        digest = hashlib.sha256(storage.data)
        digest.update(numbers.data)
        index[name] = {
            "at": at,
            "bytes": storage.size + numbers.size,
            "stated": stated,
            "table": None if table is None else table.tolist(),
            "sha256": digest.hexdigest(),
        }
        at += file.write(storage.data) + file.write(numbers.data)
        at += file.write(bytes(-at % _PAGE))
    text = json.dumps(index, separators=(",", ":")).encode()
    file.write(text)
    file.seek(0)
    file.write(_HEAD.pack(_MAGIC, key, at, len(text), hashlib.sha256(text).digest()))
    file.flush()
    flush_and_forget(file.fileno())


class WeightFile:
    """A mapped file of packed matrices.

    Parameters
    ----------
    path : Path
        The file.
    key : bytes
        The expected key in its header.

    Attributes
    ----------
    data : uint8
        All bytes of the file.

    Raises
    ------
    FormatError
        If the file is missing, unreadable or truncated, or has a different key. Its matrices are not read; see
        `verify`.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        mapped = map_file(path)
        if not isinstance(mapped, mmap.mmap) or len(mapped) < _PAGE:
            raise FormatError(f"{path}: {len(mapped)} bytes are no file of packed weights; it should be made again")
        self.path, self.data = path, np.frombuffer(mapped, np.uint8)
        magic, own, at, size, digest = _HEAD.unpack_from(mapped)
        if magic != _MAGIC or own != key:
            raise FormatError(f"{path}: has packed weights of another model or version; it should be made again")
        text = mapped[at : at + size]
        if at + size != len(mapped) or hashlib.sha256(text).digest() != digest:
            raise FormatError(f"{path}: is truncated or damaged; it should be made again")
        self._index: dict[str, Any] = json.loads(text)
        if any(one["at"] < _PAGE or one["at"] + one["bytes"] > at for one in self._index.values()):
            raise FormatError(f"{path}: has matrices that lie outside it; it should be made again")
        release(self.data)

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def _bytes(self, name: str) -> NDArray[np.uint8]:
        one = self._index[name]
        return self.data[one["at"] : one["at"] + one["bytes"]]

    def weight(self, name: str) -> _native.Weight:
        """Return a matrix whose bytes stay in the file, without reading them."""
        one = self._index[name]
        table = None if one["table"] is None else np.array(one["table"], np.int16)
        return _native.map_weight(one["stated"], table, self._bytes(name))

    def verify(self, threads: int) -> None:
        """Read all matrices, a few megabytes of each at a time, and compare their digests.

        Raises
        ------
        FormatError
            If a matrix's digest does not match; the message names the first such matrix.
        """
        with ThreadPoolExecutor(threads) as pool:  # hash functions release the interpreter's lock
            for name, digest in zip(self._index, pool.map(self._digest, self._index.values()), strict=True):
                if digest != self._index[name]["sha256"]:
                    raise FormatError(f"{self.path}: the bytes of {name} are damaged; it should be made again")

    def _digest(self, one: dict[str, Any]) -> str:
        made, left = hashlib.sha256(), one["bytes"]
        with self.path.open("rb", buffering=0) as file:
            read_in_small_parts(file.fileno())
            file.seek(one["at"])
            while left > 0 and (block := file.read(min(_BLOCK, left))):
                made.update(block)
                left -= len(block)
        return made.hexdigest()
