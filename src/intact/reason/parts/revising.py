"""Revision of texts: what takes the place of an earlier text, and what does not."""

from __future__ import annotations

from collections.abc import Sequence

from intact.reason.parts.prompting import as_reply, whole
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend


def rewrite(problem: Problem, drafts: Sequence[State], requests: Sequence[Extend]) -> Part[list[State]]:
    """Have every draft written anew, side by side; return the new texts as replies to the problem.

    A draft stays where its new text gives no answer, or a budget or an error cut that short.

    Parameters
    ----------
    requests : sequence of Extend
        How each draft is asked for.
    """
    revised = yield list(requests)
    return [
        as_reply(problem, new) if whole(problem, new) else draft for draft, new in zip(drafts, revised, strict=True)
    ]


def better(best: tuple[State, float], texts: Sequence[State], scores: Sequence[float | None]) -> tuple[State, float]:
    """Return the text of the highest score with that score: the best so far, unless one scores more.

    Texts whose score is None are passed over; of equals the first counts.
    """
    for text, score in zip(texts, scores, strict=True):
        if score is not None and score > best[1]:
            best = text, score
    return best
