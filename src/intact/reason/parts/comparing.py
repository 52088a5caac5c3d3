"""Judgements that a model writes about texts: choices among a list of them, scores, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from intact._base.errors import SpentError
from intact.reason.problem import SPENT, State
from intact.reason.registry import Part
from intact.reason.requests import Extend

DEMAND: Final = "\n\nChoice:"
"""Appended to a reply that ends without its choice."""

_CHOICE = re.compile(r"^[^\w\n]*choice\W*(\d{1,9})\b", re.IGNORECASE | re.MULTILINE)

_SCORE = re.compile(r"^[^\w\n]*score\b[^\w\n+-]*([+-]?\d{1,9})\b", re.IGNORECASE | re.MULTILINE)
T = TypeVar("T")


def numbered(texts: Sequence[str]) -> str:
    """Return texts one below the other, each under its number from 1."""
    return "\n\n".join([f"Answer {number}:\n{text}" for number, text in enumerate(texts, 1)])


def read_choice(text: str, options: int) -> int | None:
    """Return the option, from 0, that the last line of the form "Choice: NUMBER" names; None if there is none."""
    found = _CHOICE.findall(text)
    number = int(found[-1]) if found else 0
    return number - 1 if 1 <= number <= options else None


def read_score(text: str) -> int | None:
    """Return the number that the last line of the form "Score: NUMBER" states; None if there is none."""
    found = _SCORE.findall(text)
    return int(found[-1]) if found else None


def demand(
    prompts: Sequence[State], read: Callable[[str], T | None], words: str, model: str = ""
) -> Part[list[tuple[State, T | None]]]:
    """Have a model reply to each prompt, and read something of each reply, such as a verdict.

    A reply without it goes on behind the words that demand it, greedily; where that brings none either, or the reply
    broke off with an error, it is None.

    Parameters
    ----------
    prompts : sequence of State
        Questions.
    read : callable
        What a text says, or None.
    words : str
        Appended to a reply that does not say it.
    model : str
        Who replies, by the driver's name; empty: the model that writes.

    Returns
    -------
    list of tuple
        For each prompt the reply, and what was read.

    Raises
    ------
    SpentError
        If budget or context have no room for all replies: which of them are missing must not decide.
    """

    def read_reply(reply: State) -> T | None:
        return None if reply.why == "error" else read(reply.text)

    replies: list[State] = yield [Extend(prompt, model=model) for prompt in prompts]
    silent = [i for i, reply in enumerate(replies) if read_reply(reply) is None and reply.why not in SPENT]
    if silent:
        further = yield [Extend(replies[i].append(words), max_tokens=4, temperature=0.0, model=model) for i in silent]
        for i, reply in zip(silent, further, strict=True):
            replies[i] = reply
    if any(reply.why in SPENT for reply in replies):
        raise SpentError("the budget or the context has no room for all replies about texts")
    return [(reply, read_reply(reply)) for reply in replies]


def choose(prompts: Sequence[State], options: int, model: str = "") -> Part[list[int | None]]:
    """Have a model choose one of so many options for each prompt, after whatever it writes before (`demand`).

    Parameters
    ----------
    prompts : sequence of State
        Questions, each with a list of as many options, that ask to end with the line "Choice: NUMBER".
    options : int
        How many there are.
    model : str
        Who chooses, by the driver's name; empty: the model that writes.
    """
    replies = yield from demand(prompts, lambda text: read_choice(text, options), DEMAND, model)
    return [chosen for _, chosen in replies]
