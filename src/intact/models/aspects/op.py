"""The interface of an operation. Each operation is one file in `intact.models.ops` and answers all of it there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from intact._base.errors import ParameterError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import Label, RowCounts, Sizes, WorkSize
from intact.numerics.profiles import ProfileParts


@dataclass(frozen=True)
class Op(ABC):
    """An operation of a program: a frozen dataclass of buffers, tensors and numbers.

    Its class name and its fields enter the digest of a program (`intact.receipts.identity`). Everything else that is
    known about it is a method or a class attribute, never a field.

    Attributes
    ----------
    noun : str
        What error messages call it, in the plural.
    native : str
        The kind of operation that it becomes in the extension (native/ops/NAME.cpp).
    exchanges : bool
        If true, it needs other processes, or a function that stands in for them.
    derivative : None
        Reserved for a trainer: how gradients pass it. None: they do not.
    shader : None
        Reserved for a GPU executor: the shader that runs it. None: such an executor has to refuse it.
    """

    noun: ClassVar[str]
    native: ClassVar[str]
    exchanges: ClassVar[bool] = False
    derivative: ClassVar[None] = None
    shader: ClassVar[None] = None

    @abstractmethod
    def step(self, s: ReferenceStep) -> None:
        """Compute the rows of a step by the normative arithmetic (`intact.numerics`)."""

    @abstractmethod
    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the fields of the native operation (native/runtime/model.h)."""

    @abstractmethod
    def labels(self) -> dict[int, Label]:
        """Return kind and label of each part of its time (`ROWS`, `PRODUCT`), as profiles show them."""

    @abstractmethod
    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Return the multiply-adds and bytes of one part, for some rows."""

    @abstractmethod
    def cut(self, cutter: Cutter) -> None:
        """Append one rank's share of the operation to its program; `refuse_cut` if there is none."""

    @abstractmethod
    def reads(self) -> set[str]:
        """Return the buffers whose contents matter to it, those that it adds to or changes in place included."""

    @abstractmethod
    def writes(self) -> set[str]:
        """Return the buffers that it changes."""

    def sets(self) -> set[str]:
        """Return the buffers that it sets, whatever they held."""
        return self.writes() - self.reads()

    def check_profile(self, tables: Tables, profile: ProfileParts) -> None:  # noqa: B027
        """Raise if a profile cannot run it.

        Raises
        ------
        ParameterError
            Saying which profiles can.
        """

    def check(self, tables: Tables, profile: ProfileParts) -> None:  # noqa: B027
        """Raise if its numbers or tensors pass the proven bounds; `lower` does the same for the native executor.

        Raises
        ------
        ModelError
            If a tensor or number is too large.
        ParameterError
            If the profile needs a tensor that the model lacks.
        """

    def matrices(self) -> Iterable[str]:
        """Return the names of the matrices that any row may be multiplied by, those of adapters excepted."""
        return ()

    def structure(self, at: int, found: Structure) -> None:  # noqa: B027
        """Tell transforms of weights (`intact.quantizing`) what they need to know; it is operation `at`."""

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Return the bytes that the native executor caches of one position, its share of a page's states included."""
        return 0

    def refuse_cut(self) -> None:
        """Raise the error of an operation that is not cut for several processes."""
        raise ParameterError(f"tensor parallel runs no {self.noun}: load in one process")


class Cached(Op):
    """An operation with a part of the cache: its first `layer` is 0, and each class of parts is numbered by itself.

    Attributes
    ----------
    order : int
        Classes of parts lie in pages in this order.
    """

    order: ClassVar[int]
    layer: int

    @abstractmethod
    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of the arrays of int64 that the reference executor keeps of each position."""

    def at_layer(self, layer: int) -> Self:
        """Return the same operation with another part of the cache."""
        changes: dict[str, Any] = {"layer": layer}
        return replace(self, **changes)

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of what it keeps behind each block of positions."""
        return []


class Convolution(Cached):
    """A convolution over positions that is a layer of its own."""

    order: ClassVar[int] = 1


class Recurrent(Cached):
    """A layer whose state leads from one position to the next; trees of drafts cannot pass it."""

    order: ClassVar[int] = 2
