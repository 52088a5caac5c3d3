"""Model judgements of completions: choices from a list and scores, with the parsers that read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from intact._base.errors import SpentError
from intact.reason.problem import SPENT, State
from intact.reason.registry import Part
from intact.reason.requests import Extend

DEMAND: Final = "\n\nChoice:"
"""Text appended to a reply that ends without giving a choice."""

_CHOICE = re.compile(r"^[^\w\n]*choice\W*(\d{1,9})\b", re.IGNORECASE | re.MULTILINE)

_SCORE = re.compile(r"^[^\w\n]*score\b[^\w\n+-]*([+-]?\d{1,9})\b", re.IGNORECASE | re.MULTILINE)
T = TypeVar("T")


def numbered(texts: Sequence[str]) -> str:
    """Return texts as a numbered list, counted from 1."""
    return "\n\n".join([f"Answer {number}:\n{text}" for number, text in enumerate(texts, 1)])


def read_choice(text: str, options: int) -> int | None:
    """Return the zero-based option in the last line of the form "Choice: NUMBER"; None if there is no such line."""
    found = _CHOICE.findall(text)
    number = int(found[-1]) if found else 0
    return number - 1 if 1 <= number <= options else None


def read_score(text: str) -> int | None:
    """Return the number in the last line of the form "Score: NUMBER"; None if there is no such line."""
    found = _SCORE.findall(text)
    return int(found[-1]) if found else None


def demand(
    prompts: Sequence[State], read: Callable[[str], T | None], words: str, model: str = ""
) -> Part[list[tuple[State, T | None]]]:
    """Have a model reply to each prompt, and parse a value, such as a verdict, from each reply.

    A reply without the value is continued greedily after `words`; if that fails too, or the reply ended with an error,
    the value is None.

    Parameters
    ----------
    prompts : sequence of State
        Prompts that ask for the value.
    read : callable
        Parses the value from a reply, or returns None.
    words : str
        Text appended to a reply that lacks the value.
    model : str
        Name of the model that replies; empty for the main model.

    Returns
    -------
    list of tuple
        The reply and the parsed value for each prompt.

    Raises
    ------
    SpentError
        If the budget or the context has no room for all replies, since a partial set must not affect the result.
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
        raise SpentError("the budget or the context has no room for all the replies about texts")
    return [(reply, read_reply(reply)) for reply in replies]


def choose(prompts: Sequence[State], options: int, model: str = "") -> Part[list[int | None]]:
    """Have a model choose one of the options for each prompt, after any reasoning it writes first (`demand`).

    Parameters
    ----------
    prompts : sequence of State
        Questions, each with a numbered list of options, that ask for a final line "Choice: NUMBER".
    options : int
        Number of options.
    model : str
        Name of the model that chooses; empty for the main model.
    """
    replies = yield from demand(prompts, lambda text: read_choice(text, options), DEMAND, model)
    return [chosen for _, chosen in replies]
