"""Single-token continuations of a text, for searches that branch over tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from intact._base.exact import exp, total
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.parts.likeliest import rivals
from intact.reason.problem import State
from intact.reason.registry import Part
from intact.reason.requests import Extend


class NextToken(NamedTuple):
    """A text with one more token.

    Attributes
    ----------
    state : State
    logprob : int
        The token's log-probability, times 2^24; 0 if the text had already ended.
    """

    state: State
    logprob: int


def nucleus(chances: Sequence[float], top_p: float) -> int:
    """Return the size of the nucleus: the tokens preceded by less than `top_p` of the probability.

    It always includes the likeliest token.
    """
    before = 0.0
    for count, chance in enumerate(chances):
        if count and before >= top_p:
            return count
        before = total([before, chance])
    return len(chances)


def end_words(text: State) -> frozenset[str]:
    """Return the text of the end token with which the back end ended a greedy text, if any."""
    return frozenset([text.top[-1][0][0]] if text.why == "end" and rivals(text) else [])


def branch(
    parents: Sequence[State], ends: frozenset[str], *, top_p: float, k: int, may_end: bool = True
) -> Part[list[list[NextToken]]]:
    """Return each text's continuations by the tokens of its nucleus, the likeliest first; one token is charged each.

    The likeliest token is drawn by the model; the others are appended as text. An end token ends the text, with an
    empty last piece; if texts may not end yet, the nucleus is computed over the other tokens. A text already ended by
    its context, a stop string, `stop_mean_below` or an error is its own only continuation.

    Parameters
    ----------
    ends : frozenset of str
        The texts of end tokens (`end_words`).
    top_p : float
        Share of the probability covered by the tokens tried.
    k : int
        Maximum number of tokens reported.
    """
    probes = yield [Extend(state, max_tokens=1, temperature=0.0, top_logprobs=k) for state in parents]
    return [
        _children(probe, parent, ends, top_p, may_end=may_end) for probe, parent in zip(probes, parents, strict=True)
    ]


def _children(probe: State, parent: State, ends: frozenset[str], top_p: float, *, may_end: bool) -> list[NextToken]:
    if probe.why in ("unlikely", "context", "closed", "error"):
        return [NextToken(probe, 0)]
    if probe.why == "budget" or not rivals(probe):
        return []
    place = probe.top[-1]
    named = ends | {place[0][0]} if probe.why == "end" else ends
    chances = [exp(value / LOGPROB_SCALE) for _, value in place]
    allowed = [i for i, (word, _) in enumerate(place) if may_end or word not in named]
    left = 1 - total([chances[i] for i in set(range(len(place))) - set(allowed)])
    kept = allowed[: nucleus([chances[i] / left for i in allowed], top_p)] if left > 0 else []
    found = []
    for i in kept:
        word, logprob = place[i]
        if word in named:
            found.append(NextToken(replace(parent.append(""), why="end"), logprob))
        elif i == 0:
            found.append(NextToken(probe, logprob))
        elif word and "\ufffd" not in word:  # a partial character cannot be appended
            found.append(NextToken(parent.append(word, special=False), logprob))
    return found
