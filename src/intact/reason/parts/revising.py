"""Revision of completions: rules for replacing an earlier one with a later one."""

from __future__ import annotations

from collections.abc import Sequence

from intact.reason.parts.prompting import as_reply, whole
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend


def rewrite(problem: Problem, drafts: Sequence[State], requests: Sequence[Extend]) -> Part[list[State]]:
    """Rewrite every draft in parallel; return the new texts as replies to the problem.

    A draft is kept if its rewrite gives no answer or was cut short by the budget or an error.

    Parameters
    ----------
    requests : sequence of Extend
        The request that rewrites each draft.
    """
    revised = yield list(requests)
    return [
        as_reply(problem, new) if whole(problem, new) else draft for draft, new in zip(drafts, revised, strict=True)
    ]


def better(best: tuple[State, float], texts: Sequence[State], scores: Sequence[float | None]) -> tuple[State, float]:
    """Return the completion with the highest score, and that score: the best so far, unless another one scores higher.

    Completions whose score is None are skipped; ties go to the first.
    """
    for text, score in zip(texts, scores, strict=True):
        if score is not None and score > best[1]:
            best = text, score
    return best
