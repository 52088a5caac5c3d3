"""The form in which a tool stores quantised matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.tensor import Tensor


class QuantisedForm(ABC):
    """A way to store quantised matrices. Each form is a subclass in a file of its own and is discovered automatically.

    Parameters
    ----------
    settings : Metadata
        The checkpoint's description of its quantisation; a subclass validates what it depends on.
    """

    methods: ClassVar[tuple[str, ...]]
    """Names of the form in quant_method."""
    marks: ClassVar[tuple[str, ...]]
    """Name suffixes; every quantised matrix has a part with one of them."""
    ends: ClassVar[tuple[str, ...]]
    """Name suffixes of the matrix's other parts."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Name suffixes of tensors for activations or caches, which are ignored here."""
    result: ClassVar[str] = ".weight"
    """Name suffix of the resulting matrix."""

    def __init__(self, settings: Metadata) -> None:
        self.settings = settings

    def split(self, name: str) -> tuple[str, str] | None:
        """Return the stem and suffix of a part's name, using the longest matching suffix; None for other names."""
        found = max((end for end in (*self.marks, *self.ends) if name.endswith(end)), key=len, default=None)
        return None if found is None else (name.removesuffix(found), found)

    @abstractmethod
    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return the matrix that the parts form, reading only the data that determines its kind.

        Raises
        ------
        FormatError
            If a part is missing, or the parts' shapes do not match.
        """
