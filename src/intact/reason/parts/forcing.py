"""Texts that a model is made to write, to learn how probable it finds them."""

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
    """Return a regular expression that matches a text alone."""
    return "()" if not text else re.sub(r"[\\.+*?()|\[\]{}^$#&~-]", r"\\\g<0>", text)


def force(states: Sequence[State], text: str, most: int) -> Part[list[State | None]]:
    """Have the model write one text behind each of several; None where it did not come out whole.

    The likeliest token that goes on with the text is taken at each place. Log-probabilities are the model's own, as
    those of any text: what the text forbids has its share of them.

    Parameters
    ----------
    states : sequence of State
        What it is written behind.
    text : str
        Without control tokens; empty is an end token alone.
    most : int
        Tokens at most; one more than the text has is an end token.

    Raises
    ------
    ParameterError
        If one breaks off with an error, as where a back end knows no regular expressions.
    SpentError
        If the budget does not pay for all of them: which are missing must not decide.
    """
    requests = [Extend(state, regex=literal(text), max_tokens=most, temperature=0.0, stop=()) for state in states]
    written = yield from _force(requests)
    return [state if state.last == text else None for state in written]


def force_replies(prompts: Sequence[State], texts: Sequence[str], model: str = "") -> Part[list[float]]:
    """Have a model reply to prompts with a given text each, and return the natural logarithms of their chances.

    A chance is that of the whole reply with its end token, in the likeliest tokens that spell it; -inf where it does
    not come out whole.

    Raises
    ------
    ParameterError, SpentError
        As `force`, and if the back end tells no log-probabilities.
    """
    requests = [
        Extend(prompt, regex=literal(text), max_tokens=len(text.encode()) + 1, temperature=0.0, stop=(), model=model)
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    written = yield from _force(requests)
    check_likeliest(written)
    if any(state.why == "context" for state in written):
        raise SpentError("a question leaves no room in the context for the reply whose chance is wanted")
    return [
        state.logprob if state.why == "end" and state.last == text else -math.inf
        for state, text in zip(written, texts, strict=True)
    ]


def _force(requests: Sequence[Extend]) -> Part[list[State]]:
    """Return what was written, whole or not; raise as `force`."""
    written: list[State] = yield requests
    for state in written:
        if state.why == "error":
            raise ParameterError(f"the model cannot be made to write a given text: {state.error}")
    if any(state.why == "budget" for state in written):
        raise SpentError("the budget does not pay for all texts that are compared")
    return written
