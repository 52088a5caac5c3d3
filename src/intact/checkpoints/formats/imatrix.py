"""llama.cpp's importance matrices: sums of the squares of each product's inputs on calibration text.

Source: llama.cpp, tools/imatrix: a GGUF file, or the older binary file, which has no magic number.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from intact._base.errors import FormatError
from intact.checkpoints.formats.gguf import MAGIC, read_gguf
from intact.checkpoints.formats.tensor import Tensor, map_file, quote_name
from intact.numerics.dequantize import dequantize

_SUMS: Final = ".in_sum2"
_COUNTS: Final = ".counts"
_LONGEST_NAME: Final = 1 << 10


class SquaredInputs(NamedTuple):
    """Squares of a product's inputs: the diagonal of their second-moment matrix."""

    sums: npt.NDArray[np.float32]
    """(experts, K): sum of each input's squares; one expert for layers without experts."""
    counts: npt.NDArray[np.int64]
    """(experts,): number of rows in the sums. Binary files count chunks of text instead, and their sums contain one
    mean per chunk.
    """

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean square of each input; 0 if the sum has no rows."""
        return self.sums.astype(np.float64) / np.maximum(self.counts, 1)[:, None]


def read_imatrix(path: str | PathLike[str]) -> dict[str, SquaredInputs]:
    """Read an importance matrix.

    Returns
    -------
    dict
        Squared inputs by the GGUF names of the products' matrices, such as ``blk.0.attn_q.weight``.

    Raises
    ------
    FormatError
        If the file is not an importance matrix, is damaged, or has a negative or non-finite sum.
    """
    path = Path(path)
    data = map_file(path)
    found = _read_gguf(path) if data[:4] == MAGIC else _Binary(path, bytes(data[:])).entries()
    out = dict(found)
    if not out:
        raise FormatError(f"{path} contains no sums; expected an importance matrix (imatrix) of llama.cpp")
    for name, one in out.items():
        if not (np.isfinite(one.sums).all() and (one.sums >= 0).all() and (one.counts >= 0).all()):
            raise FormatError(f"{path}: {quote_name(name)} has negative or non-finite sums or counts")
    return out


def _read_gguf(path: Path) -> Iterator[tuple[str, SquaredInputs]]:
    """Yield the entries of a GGUF file: pairs of tensors (experts, K) and (experts, 1)."""
    tensors = read_gguf(path).tensors
    for name, tensor in tensors.items():
        if not name.endswith(_SUMS):
            continue
        stem = name.removesuffix(_SUMS)
        counts = tensors.get(stem + _COUNTS)
        experts = tensor.shape[0] if len(tensor.shape) == 2 else 1
        if counts is None or {tensor.kind, counts.kind} != {"F32"} or counts.shape not in ((experts, 1), (experts,)):
            problem = "missing" if counts is None else f"of shape {counts.shape}, {counts.kind}"
            raise FormatError(
                f"{path}: tensor {quote_name(stem + _COUNTS)} is {problem}; "
                f"expected ({experts}, 1) in F32 to go with {quote_name(name)}"
            )
        yield (
            stem,
            SquaredInputs(_values(tensor).reshape(experts, -1), np.rint(_values(counts)).astype(np.int64).reshape(-1)),
        )


def _values(tensor: Tensor) -> npt.NDArray[np.float32]:
    return dequantize(tensor.kind, tensor.data, tensor.shape)


class _Binary:
    """The binary file: the number of entries, then for each entry its name, its number of chunks, and its sums."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data, self.at = path, data, 0

    def fail(self, problem: str) -> NoReturn:
        raise FormatError(
            f"{self.path}: {problem} at byte {self.at}; expected an importance matrix (imatrix) of llama.cpp"
        )

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            self.fail(f"{size} bytes are declared, {len(self.data) - self.at} remain")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, what: str, most: int) -> int:
        value = int.from_bytes(self.take(4), "little", signed=True)
        if not 0 < value <= most:
            self.at -= 4
            self.fail(f"{what} is {value}")
        return value

    def entries(self) -> Iterator[tuple[str, SquaredInputs]]:
        """Yield the entries; the data after them only names the calibration text."""
        for _ in range(self.number("the number of entries", 1 << 20)):
            try:
                name = self.take(self.number("the length of a name", _LONGEST_NAME)).decode()
            except UnicodeDecodeError:
                self.fail("a name is not UTF-8")
            chunks = self.number("the number of chunks", (1 << 31) - 1)
            sums = np.frombuffer(self.take(4 * self.number("the number of inputs", 1 << 26)), "<f4")
            yield name, SquaredInputs(sums.astype(np.float32).reshape(1, -1), np.array([chunks], np.int64))
