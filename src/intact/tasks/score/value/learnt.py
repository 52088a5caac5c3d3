"""Heads that were learnt on a model's hidden states, as files of integers: how they are written and read."""

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
"""Bits of a weight: with 2^31 for a component and fewer than 2^12 components a sum fits int64."""
WIDEST: Final = 4096
"""The most components of a state."""


class LearntHead(ABC):
    """The part that learnt heads share.

    Attributes
    ----------
    kind : str
        What a file says that it is: "intact" and the head's name.
    model : str
        The identity of the back end (model, profile, numerics) on whose hidden states it was learnt.
    learnt : mapping
        From what, and what came of it on problems that were held out.
    """

    kind: ClassVar[str]
    model: str
    learnt: Mapping[str, Any]

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Return its integers, by their names in a file."""

    @classmethod
    @abstractmethod
    def from_members(cls, value: Mapping[str, Any]) -> Self:
        """Read it from the members of a file; raise ValueError, KeyError or TypeError if they are none of it."""

    @classmethod
    def name(cls) -> str:
        """Return its name in messages."""
        return cls.kind.removeprefix("intact ")

    def state_of(self, hidden: Hidden) -> HiddenState:
        """Return the state that a back end gave.

        Raises
        ------
        ParameterError
            If it is that of another model.
        """
        if hidden.model != self.model:
            raise ParameterError(f"the {self.name()} was learnt on {self.model!r}, the text is by {hidden.model!r}")
        return read_hidden(bytes.fromhex(hidden.data), profile_of(self.model))

    def check_width(self, state: HiddenState, width: int) -> None:
        """Raise ParameterError if a state has not so many components."""
        if len(state.values) != width:
            raise ParameterError(f"the {self.name()} reads {width} components, a state has {len(state.values)}")

    def write(self, file: Path) -> None:
        """Keep it as JSON, all of it or nothing."""
        about = {"kind": self.kind, "version": VERSION, "model": self.model, "learnt": self.learnt}
        write_whole(file, json.dumps(about | self.numbers()) + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        FormatError
            If it is no such file.
        """
        return cls.parse(read_text(str(file)), str(file))

    @classmethod
    def parse(cls, data: str, file: str) -> Self:
        """Read the content of such a file.

        Raises
        ------
        FormatError
            If it is none.
        """
        try:
            value = strict_json.parse(data, "the text", error=FormatError)
            if not isinstance(value, dict) or value.get("kind") != cls.kind:
                raise ValueError(f"expected an object of kind {cls.kind!r}")
            if value["version"] != VERSION:
                raise ValueError(f"it is of version {value['version']!r}; this program reads {VERSION}")
            if not isinstance(value["model"], str) or not isinstance(value["learnt"], dict):
                raise ValueError("model must be a text, learnt an object")
            return cls.from_members(value)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{file} is no {cls.name()} that `intact learn value` wrote: {error}") from error


def integer_weights(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return integers of at most 2^20 in magnitude, and the fraction f of them: a value is an integer times 2^-f."""
    _, exponent = np.frexp(np.abs(values).max())
    fraction = BITS - int(exponent)  # the largest has all bits
    return np.rint(np.ldexp(values, fraction)).astype(np.int64), fraction


def profile_of(identity: str) -> str:
    """Return the profile of arithmetic in the identity of our engine as a back end."""
    words = identity.split()
    return words[2] if len(words) > 2 else ""
