"""The form in which a program stores quantised matrices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.parts import MatrixParts
from intact.checkpoints.formats.tensor import Tensor


class QuantisedForm(ABC):
    """A way to store quantised matrices. A subclass in a file of its own is a form, found by its file.

    Parameters
    ----------
    settings : Metadata
        What the checkpoint says about it; a subclass checks what it depends on.
    """

    methods: ClassVar[tuple[str, ...]]
    """Names of the form in quant_method."""
    marks: ClassVar[tuple[str, ...]]
    """Ends of names, one of which each quantised matrix has."""
    ends: ClassVar[tuple[str, ...]]
    """Ends of the names of its other parts."""
    unused: ClassVar[tuple[str, ...]] = ()
    """Ends of names of tensors that describe activations or caches, of which this program has its own."""
    result: ClassVar[str] = ".weight"
    """The end of the name of the matrix."""

    def __init__(self, settings: Metadata) -> None:
        self.settings = settings

    def split(self, name: str) -> tuple[str, str] | None:
        """Return the stem and the end of the name of a part, by the longest end that fits; None for other names."""
        found = max((end for end in (*self.marks, *self.ends) if name.endswith(end)), key=len, default=None)
        return None if found is None else (name.removesuffix(found), found)

    @abstractmethod
    def matrix(self, parts: MatrixParts) -> Tensor:
        """Return the matrix that the parts make, without reading more of them than its kind depends on.

        Raises
        ------
        FormatError
            If a part is missing, or their shapes do not belong together.
        """
