"""Sampling rules that are one file each: a parameter, and what it forbids or makes likelier at each place of a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final

from intact._base.plugins import Registry
from intact.engine.sampling.definitions import Definition


class Rule(ABC):
    """One rule at one place of one text. A new one is made for each text whose parameter is not the default.

    Parameters
    ----------
    value : object
        The parameter's value, checked.
    prompt : sequence of int
        The tokens before the text.

    Attributes
    ----------
    name : str
        The parameter's name in Python, over HTTP and in receipts; the command line's option with hyphens.
    definition : Definition
        The parameter.
    """

    name: ClassVar[str]
    definition: ClassVar[Definition]

    @abstractmethod
    def __init__(self, value: Any, prompt: Sequence[int]) -> None: ...

    @abstractmethod
    def add(self, token: int) -> None:
        """Append a token that was drawn."""

    @abstractmethod
    def fork(self) -> Rule:
        """Return the rule of a second text, which begins with this one and goes on by itself."""

    def forbidden(self) -> Collection[int]:
        """Return the tokens that must not be drawn next."""
        return ()

    def biases(self) -> Mapping[int, float]:
        """Return what to add to the logits of tokens, -100 to 100 with at most 6 decimals."""
        return {}


def _name_of(value: Any) -> str | None:
    return value.name if isinstance(value, type) and issubclass(value, Rule) and value is not Rule else None


RULES: Final[Registry[type[Rule]]] = Registry("intact.sampling", __name__, _name_of)
