"""Completions and results as HTML for notebooks: no scripts, no external resources, all text escaped."""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intact._base.markup.render import render
from intact._base.markup.tree import draw_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEVELS: Final = ((0.05, "p1"), (0.2, "p2"), (0.5, "p3"), (0.9, "p4"))
_VOTES: Final = 8
_BAR: Final = 14.0
"""Width of the largest vote's bar, in em."""


class ColouredText(NamedTuple):
    """A token's text, its colour class, and its probability for a tooltip."""

    text: str
    level: str
    title: str


def completion_html(completion: Any, scale: int) -> str:
    """Render an `intact.Completion`; tokens are coloured if there are log-probabilities (nats times `scale`)."""
    pieces = list(_coloured(completion, scale)) if completion.texts else []
    facts = [f"ended: {completion.finish}" + (f" at {completion.stop!r}" if completion.stop else "")]
    facts += [f"{len(completion.tokens):,} tokens after {completion.prompt_tokens:,}"]
    if completion.seed is not None:
        facts.append(f"seed {completion.seed}")
    if completion.logprobs:
        facts.append(f"{sum(completion.logprobs) / scale / len(completion.logprobs):.3f} nats a token")
    if completion.receipt is not None:
        facts.append("with a receipt")
    rest = completion.text[len("".join(completion.texts)) :]
    error = None if completion.error is None else f"{type(completion.error).__name__}: {completion.error}"
    return render("completion.html.j2", pieces=pieces, rest=rest, facts=facts, error=error)


def _coloured(completion: Any, scale: int) -> Iterator[ColouredText]:
    for text, logprob in zip_longest(completion.texts, completion.logprobs or (), fillvalue=0):
        probability = math.exp(logprob / scale)
        level = next((name for bound, name in _LEVELS if probability < bound), "")
        if text:
            yield ColouredText(str(text), level, f"{probability:.2%}")


def result_html(result: Any) -> str:
    """Render a `Result` of `intact.solve`: answer, votes, cost, and the tree of outputs."""
    answer, cost = result.answer, result.cost
    votes = sorted(answer.votes.items(), key=lambda vote: -vote[1])
    largest = max([weight for _, weight in votes], default=0) or 1
    bars = [(name, f"{weight:g}", f"{_BAR * max(0, weight) / largest:.1f}") for name, weight in votes[:_VOTES]]
    facts = [f"{cost.tokens:,} tokens", f"{cost.sequential:,} one after the other", f"{cost.prefill:,} read"]
    facts += [f"{cost.scores:,} scores"] * bool(cost.scores) + [f"{cost.runs:,} programs"] * bool(cost.runs)
    facts.append(f"{cost.seconds:.1f} s")
    if answer.closeness is not None:
        facts.append(str(answer.closeness))
    if answer.confidence is not None:
        facts.append(f"confidence {answer.confidence:.2f}")
    if result.why != "done":
        facts.append("budget or context are spent: the best so far" if result.why == "spent" else result.why)
    if result.receipt is not None:
        facts.append("with a receipt")
    values = {"votes": bars, "more_votes": max(0, len(votes) - _VOTES), "facts": facts}
    return render("result.html.j2", result=result, tree=draw_tree(result.trace), **values)
