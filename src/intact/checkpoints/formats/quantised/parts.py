"""The tensors that together store a quantised matrix, and the tensor made from them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from intact._base.errors import FormatError
from intact.checkpoints.formats.quantised.floats import decode_floats
from intact.checkpoints.formats.tensor import Tensor, quote_name
from intact.numerics.weight_formats import Bytes

Floats = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_INTEGERS = {"I8": "<i1", "U8": "<u1", "I32": "<i4", "I64": "<i8"}


class Converted(Tensor):
    """A tensor that is created from parts of a file when its data are requested.

    The data are kept while a caller holds them, and recreated if requested later: executors have their own copies of
    most.
    """

    def __init__(
        self, name: str, kind: str, shape: tuple[int, ...], parts: tuple[Tensor, ...], make: Callable[[], Bytes]
    ) -> None:
        for field, value in {"name": name, "kind": kind, "shape": shape, "_parts": parts, "_make": make}.items():
            object.__setattr__(self, field, value)
        object.__setattr__(self, "_made", lambda: None)

    @property
    def data(self) -> Bytes:
        """The bytes, read-only."""
        known: Bytes | None = self._made()  # type: ignore[attr-defined]
        if known is None:
            known = self._make()  # type: ignore[attr-defined]
            known.flags.writeable = False
            object.__setattr__(self, "_made", weakref.ref(known))
        return known

    @property
    def stored(self) -> tuple[Bytes, ...]:
        """The bytes of the parts."""
        return tuple(data for part in self._parts for data in part.stored)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class MatrixParts:
    """The tensors of one matrix, by name suffix.

    Attributes
    ----------
    path : Path
        Their file, for error messages.
    stem : str
        Common prefix of their names.
    name : str
        Name of the matrix.
    """

    path: Path
    stem: str
    name: str
    found: Mapping[str, Tensor]

    def __contains__(self, end: str) -> bool:
        return end in self.found

    def fail(self, end: str, problem: str) -> NoReturn:
        """Raise an error about a part."""
        raise FormatError(f"{self.path}: tensor {quote_name(self.stem + end)} {problem}")

    def part(self, end: str, kinds: tuple[str, ...], shape: tuple[int | None, ...] | None = None) -> Tensor:
        """Return a part after checking its kind and, if given, its shape; a size of None allows any size but 0.

        Raises
        ------
        FormatError
            If it is missing, or has a different kind or shape.
        """
        if end not in self.found:
            others = ", ".join(sorted(self.found))
            self.fail(end, f"is missing; a matrix with {others} needs it")
        tensor = self.found[end]
        if tensor.kind not in kinds:
            self.fail(end, f"is {tensor.kind}; expected {' or '.join(kinds)}")
        if shape is not None:
            fits = len(shape) == len(tensor.shape) and all(
                size > 0 if wanted is None else size == wanted for size, wanted in zip(tensor.shape, shape, strict=True)
            )
            if not fits:
                expected = ", ".join("any" if size is None else str(size) for size in shape)
                self.fail(end, f"has shape {tensor.shape}; expected ({expected}) to match its other parts")
        return tensor

    def integers(self, end: str) -> Int:
        """Return the values of an integer part."""
        tensor = self.found[end]
        return tensor.data.view(_INTEGERS[tensor.kind]).reshape(tensor.shape).astype(np.int64)

    def floats(self, end: str) -> Floats:
        """Return the exact values of a float part.

        Raises
        ------
        FormatError
            If a value is NaN or infinite.
        """
        tensor = self.found[end]
        values = decode_floats(tensor)
        if not np.isfinite(values).all():
            self.fail(end, "has NaN or infinite values; expected finite scales")
        return values.astype(np.float64)

    def convert(self, kind: str, shape: tuple[int, ...], make: Callable[[], Bytes]) -> Tensor:
        """Return the matrix as a tensor whose bytes `make` returns."""
        return Converted(self.name, kind, shape, tuple(self.found.values()), make=make)
