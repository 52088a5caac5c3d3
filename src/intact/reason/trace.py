"""The tree of texts behind an answer, as JSON has it: who was forked from whom, scores, costs, the winning path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from intact.reason.state import LOGPROB_SCALE, Branch, State

if TYPE_CHECKING:
    from intact.reason.backends.base import Generation, Written
    from intact.reason.requests import Run
    from intact.reason.writing import Writing

Node = dict[str, Any]


def path(branch: Branch) -> str:
    """A branch as one text."""
    return "/".join(map(str, branch))


def begun(generation: Generation) -> Node:
    """A text that is being written: its place, and where it goes on from."""
    return {"branch": path(generation.branch), "parent": path(generation.state.branch)}


def extension(writing: Writing, state: State, written: Written) -> Node:
    """An entry for a text that was extended."""
    cost = writing.cost(len(written.tokens))
    node: Node = {
        "kind": "extend",
        "branch": path(state.branch),
        "parent": path(writing.request.state.branch),
        "text": "".join([piece.text for piece in state.pieces[len(writing.request.state.pieces) :]]),
        "tokens": len(written.tokens),
        "prefill": cost.prefill,
        "operations": cost.operations,
        "logprob": sum(written.logprobs) / LOGPROB_SCALE,
        "why": state.why,
    }
    appended = _appended(writing.request.state)
    extras = {"appended": appended, "model": writing.model, "error": written.error}
    return node | {name: value for name, value in extras.items() if value}


def _appended(state: State) -> str:
    """What was added to a text since a model last wrote."""
    text = ""
    for piece in reversed(state.pieces):
        if piece.model is not None:
            break
        text = piece.text + text
    return text


def score_node(name: str, states: Sequence[State], scores: Sequence[float]) -> Node:
    """An entry for texts that were judged."""
    return {
        "kind": "score",
        "scorer": name,
        "scores": [[path(s.branch), v] for s, v in zip(states, scores, strict=True)],
    }


def run_node(request: Run, outcome: Any) -> Node:
    """An entry for a program that was run."""
    asked = {"code": request.code, "seconds": request.seconds}
    asked |= {} if request.stdin is None else {"stdin": request.stdin}
    return {"kind": "run", **asked, "stdout": outcome.stdout, "status": outcome.status, "ended": outcome.ended}
