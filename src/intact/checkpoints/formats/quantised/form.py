"""The form in which a program stores quantised matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.tensor import Tensor


class QuantisedForm(ABC):
    """A way to store quantised matrices. Each form is a subclass in its own file, by which it is found.

    Parameters
    ----------
    settings : Metadata
        The checkpoint's description of its quantisation; a subclass validates what it depends on.
    """

    methods: ClassVar[tuple[str, ...]]
    """Names of the form in quant_method."""
    marks: ClassVar[tuple[str, ...]]
    """Name suffixes, one of which every quantised matrix has."""
    ends: ClassVar[tuple[str, ...]]
    """Name suffixes of its other parts."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Name suffixes of tensors for activations or caches, which are ignored here."""
    result: ClassVar[str] = ".weight"
    """Name suffix of the resulting matrix."""

    def __init__(self, settings: Metadata) -> None:
        self.settings = settings

    def split(self, name: str) -> tuple[str, str] | None:
        """Return the stem and suffix of a part's name, with the longest suffix that fits; None for other names."""
        found = max((end for end in (*self.marks, *self.ends) if name.endswith(end)), key=len, default=None)
        return None if found is None else (name.removesuffix(found), found)

    @abstractmethod
    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return the matrix that the parts form, reading only what its kind depends on.

        Raises
        ------
        FormatError
            If a part is missing, or the parts' shapes do not match.
        """
