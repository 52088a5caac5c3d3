"""Heads learnt on a model's hidden states, stored as files of integers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from intact._base import strict_json
from intact._base.errors import FormatError, ParameterError
from intact._base.files import write_whole
from intact.engine.hidden import HiddenState, read_hidden
from intact.reason.driving.services import read_text
from intact.reason.problem import Hidden

VERSION: Final = 1
BITS: Final = 20
"""Bits of a weight: with at most 2^12 components, each below 2^31, a sum fits in int64."""
WIDEST: Final = 4096
"""The maximum number of components of a state."""


class LearntHead(ABC):
    """The base class of learnt heads.

    Attributes
    ----------
    kind : str
        The type recorded in the file: "intact" and the head's name.
    model : str
        The identity of the back end (model, profile, numerics) whose hidden states it was trained on.
    learnt : mapping
        The training data, and the results on held-out problems.
    """

    kind: ClassVar[str]
    model: str
    learnt: Mapping[str, Any]

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Return its integers, by their names in the file."""

    @classmethod
    @abstractmethod
    def from_members(cls, value: Mapping[str, Any]) -> Self:
        """Read it from the members of a file; raise ValueError, KeyError or TypeError if they are invalid."""

    @classmethod
    def name(cls) -> str:
        """Return the name used in messages."""
        return cls.kind.removeprefix("intact ")

    def state_of(self, hidden: Hidden) -> HiddenState:
        """Decode the hidden state returned by a back end.

        Raises
        ------
        ParameterError
            If it comes from a different model.
        """
        if hidden.model != self.model:
            raise ParameterError(f"the {self.name()} was learnt on {self.model!r}, but the text is by {hidden.model!r}")
        return read_hidden(bytes.fromhex(hidden.data), profile_of(self.model))

    def check_width(self, state: HiddenState, width: int) -> None:
        """Raise ParameterError if a state does not have `width` components."""
        if len(state.values) != width:
            raise ParameterError(f"the {self.name()} needs {width} components, but the state has {len(state.values)}")

    def write(self, file: Path) -> None:
        """Write it as JSON, atomically."""
        about = {"kind": self.kind, "version": VERSION, "model": self.model, "learnt": self.learnt}
        write_whole(file, json.dumps(about | self.numbers()) + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file written by `write`.

        Raises
        ------
        FormatError
            If the file is not a head of this kind.
        """
        return cls.parse(read_text(str(file)), str(file))

    @classmethod
    def parse(cls, data: str, file: str) -> Self:
        """Parse the content of a file written by `write`.

        Raises
        ------
        FormatError
            If it is not a head of this kind.
        """
        try:
            value = strict_json.parse(data, "the text", error=FormatError)
            if not isinstance(value, dict) or value.get("kind") != cls.kind:
                raise ValueError(f"expected an object of kind {cls.kind!r}")
            if value["version"] != VERSION:
                raise ValueError(f"it has version {value['version']!r}, but this program reads version {VERSION}")
            if not isinstance(value["model"], str) or not isinstance(value["learnt"], dict):
                raise ValueError("model must be a string and learnt an object")
            return cls.from_members(value)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{file} is not a {cls.name()} written by `intact learn value`: {error}") from error


def integer_weights(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return integers of at most 2^20 in magnitude, and their fraction bits f: a value is an integer times 2^-f."""
    _, exponent = np.frexp(np.abs(values).max())
    fraction = BITS - int(exponent)  # the largest value uses all bits
    return np.rint(np.ldexp(values, fraction)).astype(np.int64), fraction


def profile_of(identity: str) -> str:
    """Return the arithmetic profile named in the identity of intact's engine as a back end."""
    words = identity.split()
    return words[2] if len(words) > 2 else ""
