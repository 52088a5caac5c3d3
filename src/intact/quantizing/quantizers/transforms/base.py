"""Transforms, the model that they are given, and the changes that they return."""

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
    """A head that begins as a copy of the token embeddings that it was tied to."""

    head: str
    embedding: str


class TensorEdits:
    """Changes of tensors by their canonical names, applied one after the other when a tensor is asked for.

    Attributes
    ----------
    untied : Untied or None
        A head that becomes a matrix of its own.
    rotated : dict
        Matrices whose inputs the program is to rotate from now on, and the sizes of the blocks.
    """

    def __init__(self) -> None:
        self.untied: Untied | None = None
        self.rotated: dict[str, int] = {}
        self._of: dict[str, list[Edit]] = {}

    def add(self, name: str, edit: Edit) -> None:
        """Append a change of a tensor."""
        self._of.setdefault(name, []).append(edit)

    def outputs(self, of: Projection, edit: Edit) -> None:
        """Append a change along the first axis: of a matrix's rows, and of the bias beside it."""
        self.add(of.weight, edit)
        if of.bias is not None:
            self.add(of.bias, edit)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all tensors that change."""
        return iter(self._of)

    def apply(self, name: str, values: Weights) -> Weights:
        """Return the changed values of a tensor."""
        for edit in self._of.get(name, ()):
            values = edit(values)
        return values


@dataclass(frozen=True)
class FloatModel:
    """A model that is to be changed.

    Attributes
    ----------
    read : callable
        Return the values of a tensor by its canonical name, float32.
    statistics : callable or None
        Return the statistics of the inputs of a product by the index of its operation; None unless `calibrated`.
    specs : tuple of Spec
        The specs that matrices will be quantised by; several are the candidates of a mixture.
    progress : callable
        Called with how much of how many is done.
    """

    structure: ModelStructure
    read: Callable[[str], Weights]
    statistics: Callable[[int], InputStatistics] | None = None
    specs: tuple[Spec, ...] = ()
    progress: Callable[[int, int], None] = lambda done, whole: None


class Transform(ABC):
    """A change of float weights that keeps the function of the model, exactly so in real numbers.

    A subclass is one transform; its instance in its module is found by its name. Its results depend on its arguments
    alone, to the bit: integers, or float64 by elementwise `+ - * /` and roots in a fixed order.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    calibrated: ClassVar[bool] = False
    """If true, it needs `InputStatistics`."""
    last: ClassVar[bool] = False
    """If true, no transform can follow: programs are then no longer as `ModelStructure` describes them."""

    def check(self, model: ModelStructure, specs: tuple[Spec, ...]) -> None:
        """Raise ParameterError if the model or the specs do not permit the transform; called before any work."""
        return

    @abstractmethod
    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes."""
