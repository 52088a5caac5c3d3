"""Sampling rules, one file each: a parameter, and the tokens it forbids or biases at each position of the output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final

from intact._base.plugins import Registry
from intact.engine.sampling.definitions import Definition


class Rule(ABC):
    """A sampling rule, with its state for one sample. Created for each sample whose parameter is not the default.

    Parameters
    ----------
    value : object
        Validated value of the parameter.
    prompt : sequence of int
        Tokens before the output.

    Attributes
    ----------
    name : str
        Name of the parameter in Python, over HTTP and in receipts; the command-line option uses hyphens.
    definition : Definition
        Definition of the parameter.
    """

    name: ClassVar[str]
    definition: ClassVar[Definition]

    @abstractmethod
    def __init__(self, value: Any, prompt: Sequence[int]) -> None: ...

    @abstractmethod
    def add(self, token: int) -> None:
        """Append a drawn token."""

    @abstractmethod
    def fork(self) -> Rule:
        """Return the rule of a second sample that begins with this one and continues independently."""

    def forbidden(self) -> Collection[int]:
        """Return the tokens that must not be drawn next."""
        return ()

    def biases(self) -> Mapping[int, float]:
        """Return biases to add to the logits of tokens, from -100 to 100 with at most 6 decimal places."""
        return {}


def _name_of(value: Any) -> str | None:
    return value.name if isinstance(value, type) and issubclass(value, Rule) and value is not Rule else None


RULES: Final[Registry[type[Rule]]] = Registry("intact.sampling", __name__, _name_of)
