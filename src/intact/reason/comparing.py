"""Choices that a model makes among texts, in writing: the prompt's list of texts, and the number that a reply names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from intact.errors import SpentError
from intact.reason.problem import State
from intact.reason.registry import Part
from intact.reason.requests import Extend

DEMAND: Final = "\n\nChoice:"
"""Appended to a reply that ends without its choice."""

_CHOICE = re.compile(r"^[^\w\n]*choice\W*(\d{1,9})\b", re.IGNORECASE | re.MULTILINE)


def numbered(texts: Sequence[str]) -> str:
    """Return texts one below the other, each under its number from 1."""
    return "\n\n".join([f"Answer {number}:\n{text}" for number, text in enumerate(texts, 1)])


def read_choice(text: str, options: int) -> int | None:
    """Return the option, from 0, that the last line of the form "Choice: NUMBER" names; None if there is none."""
    found = _CHOICE.findall(text)
    number = int(found[-1]) if found else 0
    return number - 1 if 1 <= number <= options else None


def choose(prompts: Sequence[State], options: int, model: str = "") -> Part[list[int | None]]:
    """Have a model choose one of so many options for each prompt, after whatever it writes before.

    A reply without a choice goes on behind "Choice:", greedily; where that brings none either, or the reply broke off
    with an error, the choice is None.

    Parameters
    ----------
    prompts : sequence of State
        Questions, each with a list of as many options, that ask to end with the line "Choice: NUMBER".
    options : int
        How many there are.
    model : str
        Who chooses, by the driver's name; empty: the model that writes.

    Raises
    ------
    SpentError
        If the budget does not pay for all replies: which of them are missing must not decide.
    """
    replies: list[State] = yield [Extend(prompt, model=model) for prompt in prompts]
    silent = [i for i, reply in enumerate(replies) if _choice(reply, options) is None and reply.why != "budget"]
    if silent:
        further = yield [Extend(replies[i].append(DEMAND), max_tokens=4, temperature=0.0, model=model) for i in silent]
        for i, reply in zip(silent, further, strict=True):
            replies[i] = reply
    if any(reply.why == "budget" for reply in replies):
        raise SpentError("the budget does not pay for all choices")
    return [_choice(reply, options) for reply in replies]


def _choice(reply: State, options: int) -> int | None:
    return None if reply.why == "error" else read_choice(reply.text, options)
