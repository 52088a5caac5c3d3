"""Forced texts: a model is constrained to write a given text, to measure how probable the model finds it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from intact._base.errors import ParameterError, SpentError
from intact.reason.parts.likeliest import check_likeliest
from intact.reason.problem import State
from intact.reason.registry import Part
from intact.reason.requests import Extend


def literal(text: str) -> str:
    """Return a regular expression that matches only the given text."""
    return "()" if not text else re.sub(r"[\\.+*?()|\[\]{}^$#&~-]", r"\\\g<0>", text)


def force(states: Sequence[State], text: str, most: int) -> Part[list[State | None]]:
    """Have the model write a given text after each of several states; None where the text is incomplete.

    At each position the likeliest token that continues the text is taken. Log-probabilities are the model's own,
    unaffected by the constraint: forbidden tokens keep their share.

    Parameters
    ----------
    states : sequence of State
        States after which the text is written.
    text : str
        The text, without control tokens; if empty, only an end token is written.
    most : int
        Maximum number of tokens; one more than the text needs, to leave room for an end token.

    Raises
    ------
    ParameterError
        If a state ends with an error, for example because the back end does not support regular expressions.
    SpentError
        If the budget does not cover all states, since the missing ones must not affect the result.
    """
    requests = [Extend(state, regex=literal(text), max_tokens=most, temperature=0.0, stop=()) for state in states]
    written = yield from _force(requests)
    return [state if state.last == text else None for state in written]


def force_replies(prompts: Sequence[State], texts: Sequence[str], model: str = "") -> Part[list[float]]:
    """Have a model reply to each prompt with a given text, and return the log-probabilities of these replies.

    The probability covers the whole reply with its end token, spelt with the likeliest tokens; the logarithm is
    natural, and -inf if the reply is incomplete.

    Raises
    ------
    ParameterError, SpentError
        As for `force`, and if the back end reports no log-probabilities.
    """
    requests = [
        Extend(prompt, regex=literal(text), max_tokens=len(text.encode()) + 1, temperature=0.0, stop=(), model=model)
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    written = yield from _force(requests)
    check_likeliest(written)
    if any(state.why == "context" for state in written):
        raise SpentError("a question leaves no room in the context for the reply whose probability is needed")
    return [
        state.logprob if state.why == "end" and state.last == text else -math.inf
        for state, text in zip(written, texts, strict=True)
    ]


def _force(requests: Sequence[Extend]) -> Part[list[State]]:
    """Return the generated texts, complete or not; raise as `force` does."""
    written: list[State] = yield requests
    for state in written:
        if state.why == "error":
            raise ParameterError(f"the model cannot be forced to write a given text: {state.error}")
    if any(state.why == "budget" for state in written):
        raise SpentError("the budget is too small for all the texts to be compared")
    return written
