"""Tensors as read-only views into a mapped file, and the kinds in which they are stored."""

import mmap
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from intact._base.errors import FormatError
from intact._base.system import release_pages
from intact.numerics.weight_formats import FORMATS

HEADER_MEMORY: Final = 96 << 20
"""Memory limit in bytes for the objects created from one header; the largest vocabularies need about 60 million."""


class Kind(NamedTuple):
    """A way to store a tensor's elements: in blocks of a fixed size."""

    elements: int
    """Number of elements per block, consecutive along the last axis."""
    bytes: int
    """Number of bytes per block."""


_NUMBERS: Final = {
    "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E8M0": 1,
}  # fmt: skip

KINDS: Final = {name: Kind(form.values, form.size) for name, form in FORMATS.items()} | {
    name: Kind(1, size) for name, size in _NUMBERS.items()
}
"""All kinds of tensors that can be read; executors compute with most of them."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named tensor in the form in which its file stores it."""

    name: str
    kind: str
    """A key of `KINDS`."""
    shape: tuple[int, ...]
    """Shape in NumPy order: a matrix is outputs N by inputs K."""
    data: npt.NDArray[np.uint8]
    """The bytes, one-dimensional and read-only: a view into the mapped file, of exactly the right length."""

    @property
    def stored(self) -> tuple[npt.NDArray[np.uint8], ...]:
        """The bytes in the file that the tensor comes from; reading them converts nothing."""
        return (self.data,)

    @property
    def stored_bytes(self) -> int:
        """Number of bytes in the file."""
        return sum(part.nbytes for part in self.stored)

    def __repr__(self) -> str:
        return f"Tensor({self.name!r}, {self.kind}, {self.shape})"


def byte_length(kind: str, shape: tuple[int, ...]) -> int | None:
    """Return the number of bytes of a tensor; None if its last axis is not a whole number of blocks.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    shape : tuple of int
        Sizes in NumPy order, empty for a scalar; they are Python integers, so nothing overflows.
    """
    elements, size = KINDS[kind]
    if elements > 1 and (not shape or shape[-1] % elements):
        return None
    return prod(shape) // elements * size


def map_file(path: Path) -> mmap.mmap | bytes:
    """Map a whole file, read-only; for an empty file, which cannot be mapped, return empty bytes.

    Raises
    ------
    FormatError
        If the file is missing or unreadable.
    """
    try:
        if path.exists() and not path.is_file():
            raise FormatError(f"{path} is a {'folder' if path.is_dir() else 'device or pipe'}; expected a file")
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} cannot be read ({error}); expected a readable file") from error


def mapped_file(data: npt.NDArray[np.uint8]) -> mmap.mmap | None:
    """Return the mapping of which an array is a view, if any."""
    base: object = data
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def release(data: npt.NDArray[np.uint8]) -> None:
    """Release the memory of the mapped file that holds these bytes, if any; it is reread when needed.

    The whole file is released, since mapping a page may make the system map megabytes around it.
    """
    found = mapped_file(data)
    if found is not None:
        release_pages(found)


def quote_name(name: str) -> str:
    """Quote a name from a file for an error message: escaped, and shortened if it is long."""
    return repr(name) if len(name) <= 80 else f"{name[:60]!r}... ({len(name)} characters)"
