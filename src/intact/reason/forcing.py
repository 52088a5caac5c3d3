"""Texts that a model is made to write, to learn how probable it finds them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from intact.errors import ParameterError, SpentError
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
    written = yield [Extend(state, regex=literal(text), max_tokens=most, temperature=0.0, stop=()) for state in states]
    for state in written:
        if state.why == "error":
            raise ParameterError(f"the model cannot be made to write a given text: {state.error}")
    if any(state.why == "budget" for state in written):
        raise SpentError("the budget does not pay for all texts that are compared")
    return [state if state.last == text else None for state in written]
