"""The interface of transforms, the model they receive and the changes they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.quantizing.quantizers.base import InputStatistics
from intact.quantizing.quantizers.spec import Spec
from intact.quantizing.quantizers.transforms.structure import ModelStructure, Projection

Weights = NDArray[np.float32]
Edit = Callable[[Weights], Weights]


class Untied(NamedTuple):
    """A head that starts out as a copy of the token embeddings it was tied to."""

    head: str
    embedding: str


class TensorEdits:
    """Changes to tensors by their canonical names, applied in order when a tensor is read.

    Attributes
    ----------
    untied : Untied or None
        A head that becomes a separate matrix.
    rotated : dict
        Matrices whose inputs the program must rotate from now on, with their block sizes.
    """

    def __init__(self) -> None:
        self.untied: Untied | None = None
        self.rotated: dict[str, int] = {}
        self._of: dict[str, list[Edit]] = {}

    def add(self, name: str, edit: Edit) -> None:
        """Append a change to a tensor."""
        self._of.setdefault(name, []).append(edit)

    def outputs(self, of: Projection, edit: Edit) -> None:
        """Append a change along the first axis, to a matrix's rows and its bias."""
        self.add(of.weight, edit)
        if of.bias is not None:
            self.add(of.bias, edit)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all changed tensors."""
        return iter(self._of)

    def apply(self, name: str, values: Weights) -> Weights:
        """Return the changed values of a tensor."""
        for edit in self._of.get(name, ()):
            values = edit(values)
        return values


@dataclass(frozen=True)
class FloatModel:
    """A model to transform.

    Attributes
    ----------
    read : callable
        Returns the values of a tensor by its canonical name, float32.
    statistics : callable or None
        Returns the statistics of a product's inputs by the index of its operation; None unless `calibrated`.
    specs : tuple of Spec
        The specs that matrices will be quantised by; several are the candidates of a mixture.
    progress : callable
        Called with the number of steps done and the total.
    """

    structure: ModelStructure
    read: Callable[[str], Weights]
    statistics: Callable[[int], InputStatistics] | None = None
    specs: tuple[Spec, ...] = ()
    progress: Callable[[int, int], None] = lambda done, whole: None


class Transform(ABC):
    """A change of float weights that preserves the model's function (exactly, in real arithmetic).

    Each subclass is one transform, found by its module-level instance. Results must depend only on the arguments, to
    the bit: use integers, or float64 with elementwise `+ - * /` and roots in a fixed order.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    calibrated: ClassVar[bool] = False
    """If true, the transform needs `InputStatistics`."""
    last: ClassVar[bool] = False
    """If true, no transform can follow, because `ModelStructure` no longer describes the program."""

    def check(self, model: ModelStructure, specs: tuple[Spec, ...]) -> None:
        """Raise ParameterError if the model or the specs do not permit the transform; called before any work."""
        return

    @abstractmethod
    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes."""
