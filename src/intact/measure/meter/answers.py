"""An endpoint's answers, and the point where two of them diverge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple


class EndpointAnswer(NamedTuple):
    """One answer.

    Attributes
    ----------
    text, finish
        The text, and the stop reason in the endpoint's words.
    tokens, logprobs
        Its tokens as strings, and their log-probabilities; empty if the endpoint does not list them.
    top
        For each token, the log-probabilities of the likeliest tokens at its position, by string.
    """

    text: str
    finish: str = ""
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    top: tuple[Mapping[str, float], ...] = ()


class AnswerComparison(NamedTuple):
    """A comparison of an answer with the reference, which is the answer to the same request sent alone.

    Attributes
    ----------
    equal
        If true, text and stop reason are the same.
    unit
        The unit of `place`: token, or character if one of the two does not list tokens.
    place
        Index of the first difference, or the length of both.
    expected, got
        The reference's and the answer's token (or the next characters) at that index; empty at an end.
    gap
        In the reference, the log-probability of its own token minus that of the answer's token, in nats: a small gap is
        a near tie. None if the endpoint does not list it.
    shift
        Largest difference between the log-probabilities of the tokens before `place`, in nats; None if unknown.
    """

    equal: bool
    unit: str
    place: int
    expected: str = ""
    got: str = ""
    gap: float | None = None
    shift: float | None = None

    @classmethod
    def of_dict(cls, record: Mapping[str, Any]) -> AnswerComparison:
        """Return the comparison that `_asdict` has written."""
        return cls(**record)


_EXCERPT = 12
"""Number of characters shown when characters are compared."""


def compare(reference: EndpointAnswer, answer: EndpointAnswer) -> AnswerComparison:
    """Find the first difference between an answer and the reference."""
    by_token = bool(reference.tokens and answer.tokens)
    a: Sequence[str] = reference.tokens if by_token else reference.text
    b: Sequence[str] = answer.tokens if by_token else answer.text
    place = next((i for i, (x, y) in enumerate(zip_longest(a, b)) if x != y), len(a))
    equal = reference.text == answer.text and reference.finish == answer.finish
    found = AnswerComparison(equal, "token" if by_token else "character", place, shift=_shift(reference, answer, place))
    if equal:
        return found
    if not by_token:
        return found._replace(expected=reference.text[place:][:_EXCERPT], got=answer.text[place:][:_EXCERPT])
    expected, got = (one[place] if place < len(one) else "" for one in (a, b))
    listed = reference.top[place] if place < len(reference.top) else {}
    gap = listed[expected] - listed[got] if expected in listed and got in listed else None
    return found._replace(expected=expected, got=got, gap=gap)


def _shift(reference: EndpointAnswer, answer: EndpointAnswer, place: int) -> float | None:
    """Return the largest difference between log-probabilities of common tokens."""
    pairs = list(zip(reference.logprobs[:place], answer.logprobs[:place], strict=False))
    return max((abs(x - y) for x, y in pairs), default=None)
