"""The interface of an operation. Each operation implements all of it in one file of `intact.models.ops`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from intact._base.errors import ParameterError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import Label, RowCounts, Sizes, WorkSize
from intact.numerics.profiles import ProfileParts


@dataclass(frozen=True)
class Op(ABC):
    """An operation of a program: a frozen dataclass of buffers, tensors and numbers.

    Its class name and its fields enter the digest of a program (`intact.receipts.identity`). All other facts about it
    are methods or class attributes, never fields.

    Attributes
    ----------
    noun : str
        Plural noun for error messages.
    native : str
        Kind of the native operation in the extension (native/ops/NAME.cpp).
    exchanges : bool
        If true, the operation needs other processes, or a function that acts for them.
    """

    noun: ClassVar[str]
    native: ClassVar[str]
    exchanges: ClassVar[bool] = False

    @abstractmethod
    def step(self, s: ReferenceStep) -> None:
        """Compute the rows of a step in the normative arithmetic (`intact.numerics`)."""

    @abstractmethod
    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the fields of the native operation (native/runtime/model.h)."""

    def shade(self, g: Shading) -> None:
        """Append the shaders that compute the operation on a GPU.

        Raises
        ------
        ParameterError
            If the operation has no shader.
        """
        raise ParameterError(f"the executor wgpu runs no {self.noun}: load with executor='native'")

    @abstractmethod
    def labels(self) -> dict[int, Label]:
        """Return the kind and label of each timed part (`ROWS`, `PRODUCT`), as displayed in profiles."""

    @abstractmethod
    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Return the multiply-adds and bytes of one part, for the given row counts."""

    @abstractmethod
    def cut(self, cutter: Cutter) -> None:
        """Append one rank's share of the operation to its program; call `refuse_cut` if it cannot be split."""

    @abstractmethod
    def reads(self) -> set[str]:
        """Return the buffers whose contents affect the result, including those added to or changed in place."""

    @abstractmethod
    def writes(self) -> set[str]:
        """Return the buffers that the operation changes."""

    def sets(self) -> set[str]:
        """Return the buffers that the operation overwrites, regardless of their contents."""
        return self.writes() - self.reads()

    def check_profile(self, tables: Tables, profile: ProfileParts) -> None:  # noqa: B027
        """Raise if a profile cannot run the operation.

        Raises
        ------
        ParameterError
            If it cannot; the message names the profiles that can.
        """

    def check(self, tables: Tables, profile: ProfileParts) -> None:  # noqa: B027
        """Raise if a number or tensor exceeds the proven bounds; `lower` does the same for the native executor.

        Raises
        ------
        ModelError
            If a tensor or number is too large.
        ParameterError
            If the profile needs a tensor that the model lacks.
        """

    def matrices(self) -> Iterable[str]:
        """Return the names of the matrices by which rows may be multiplied, excluding those of adapters."""
        return ()

    def structure(self, at: int, found: Structure) -> None:  # noqa: B027
        """Describe this operation, number `at` of the program, to weight transforms (`intact.quantizing`)."""

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Return the bytes that the native executor caches per position, including its share of a page's states."""
        return 0

    def refuse_cut(self) -> None:
        """Raise the error for an operation that cannot be split between processes."""
        raise ParameterError(f"tensor parallel runs no {self.noun}: load in one process")

    def float_step(self, s: FloatPass) -> None:
        """Compute a sequence's rows in float32, and keep what the derivative needs.

        Raises
        ------
        ParameterError
            If the operation has no derivative.
        """
        self.refuse_derivative()

    def derivative(self, s: FloatPass) -> None:
        """Pass gradients from the buffers that the operation writes to those that it reads, and to its tensors.

        Raises
        ------
        ParameterError
            If the operation has no derivative.
        """
        self.refuse_derivative()

    def refuse_derivative(self, detail: str = "") -> None:
        """Raise the error for an operation through which training cannot pass gradients."""
        raise ParameterError(f"training has no derivative of {self.noun}{detail}; it can train decoders without them")

    @classmethod
    def differentiable(cls) -> bool:
        """Return true if the operation has a derivative."""
        return cls.derivative is not Op.derivative


class Cached(Op):
    """An operation with its own part of the cache. Parts are numbered by `layer`, from 0, separately for each class.

    Attributes
    ----------
    order : int
        Order of the classes' parts within a page.
    """

    order: ClassVar[int]
    layer: int

    @abstractmethod
    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of the int64 arrays that the reference executor keeps per position."""

    def at_layer(self, layer: int) -> Self:
        """Return the same operation with another part of the cache."""
        changes: dict[str, Any] = {"layer": layer}
        return replace(self, **changes)

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the states kept after each block of positions."""
        return []


class Convolution(Cached):
    """A convolution over positions that forms a layer of its own."""

    order: ClassVar[int] = 1


class Recurrent(Cached):
    """A layer that carries a state from one position to the next; it does not support trees of drafts."""

    order: ClassVar[int] = 2
