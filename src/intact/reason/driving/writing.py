"""An extension before and after it runs: its key, its maximum cost, its actual cost."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple

from intact.engine.request import no_room
from intact.engine.sampling.parameters import SamplingParameters
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.backends.base import Backend, Generation, Heat, Rendering, Spelling, ThinkingBackend, Written
from intact.reason.budget import Cost, Ledger
from intact.reason.driving.journal import key_of, plain
from intact.reason.problem import Branch, Piece, State, Why, path
from intact.reason.requests import Extend
from intact.text.stream import StopStrings


class Context(NamedTuple):
    """A text as seen by a model: its length in tokens, the tokens still to prefill, and the operations this takes."""

    length: int
    unread: int
    operations: int
    nodes: tuple[int, ...]


NOTHING = Context(0, 0, 0, ())


class ReadTexts:
    """The texts already prefilled for a problem: each is charged once, and the model's own output is free."""

    def __init__(self, known: ReadTexts | None = None) -> None:
        self._nodes: dict[tuple[Any, ...], int] = {} if known is None else dict(known._nodes)
        self._read: set[int] = set() if known is None else set(known._read)

    def look(self, backend: Backend, model: str, state: State, besides: set[int]) -> Context:
        """Measure a text without marking it as read; `besides` holds nodes that are about to be read."""
        node = length = unread = operations = 0
        nodes = []
        for part in (state.prompt, *state.pieces):
            size = backend.count(part)
            node = self._nodes.setdefault((model, node, part), len(self._nodes) + 1)
            nodes.append(node)
            own = isinstance(part, Piece) and part.model == model
            if not own and node not in self._read and node not in besides:
                unread += size
                operations += backend.operations(length, size)
            length += size
        return Context(length, unread, operations, tuple(nodes))

    def read(self, nodes: Iterable[int]) -> None:
        """Mark texts as read."""
        self._read.update(nodes)


@dataclass(eq=False)
class Writing:
    """An extension with its parameters resolved.

    Attributes
    ----------
    state : State
        The state that is extended, in a form the back end can read.
    branch : tuple
        Branch of the resulting state.
    parameters : SamplingParameters
        Resolved sampling parameters; `max_tokens` is the requested value.
    ends : tuple of str
        The user's stop strings, which end the whole completion and not only the extension.
    other_prompt : bool
        If true, this begins a reply to a prompt other than the problem's own.
    left : int, optional
        Number of tokens left under the budget's cap per completion.
    spread : bool
        If true, the spread of the distribution is reported with each token.
    allowed : int
        Number of tokens left in the context and the budget.
    """

    request: Extend
    model: str
    backend: Backend
    state: State
    branch: Branch
    parameters: SamplingParameters
    ends: tuple[str, ...] = ()
    other_prompt: bool = False
    left: int | None = None
    spread: bool = False
    context: Context = NOTHING
    allowed: int = 0

    def look(self, reader: ReadTexts, besides: set[int]) -> None:
        """Set the number of tokens to prefill and the room left in the context."""
        self.context = reader.look(self.backend, self.model, self.state, besides)
        self.allowed = self.room if self.left is None else min(self.room, self.left)

    @property
    def room(self) -> int:
        """The maximum number of new tokens: the requested number, limited by the context."""
        return min(self.parameters.max_tokens, self.backend.context - self.context.length)

    @property
    def prompt_error(self) -> str:
        """The error message of a prompt that leaves no room for a reply; empty for others."""
        length, context = self.context.length, self.backend.context
        if length < context or self.state.length:
            return ""
        return f"ParameterError: {no_room(length, context)}"

    def cost(self, tokens: int) -> Cost:
        """Return the cost of generating a number of tokens."""
        operations = self.context.operations + self.backend.operations(self.context.length, tokens)
        return Cost(tokens, self.context.unread, operations, sequential=tokens)

    def key(self, tokens: int | None = None) -> bytes:
        """Return the journal key of the request, or of the same request with a different number of tokens."""
        parameters = replace(self.parameters, max_tokens=tokens or self.allowed).to_json()
        more = tuple([name for name, on in (("hidden", self.request.hidden), ("spread", self.spread)) if on])
        if isinstance(self.backend, Rendering) and (prompt := self.backend.prompt_digest(self.state.prompt)):
            more = (*more, prompt)
        return key_of("extend", self.backend.identity, plain(self.state), parameters, self.branch, *more)

    def generation(self, heat: Heat | None = None, runner: int = 0) -> Generation:
        """Return the request for the back end."""
        parameters = self.parameters
        if self.allowed != parameters.max_tokens:
            parameters = replace(
                parameters, max_tokens=self.allowed, min_tokens=min(parameters.min_tokens, self.allowed)
            )
        return Generation(
            self.state, parameters, self.branch, heat, runner=runner, hidden=self.request.hidden, spread=self.spread
        )

    def extended(self, written: Written) -> State:
        """Return the extended state."""
        why: Why = written.why
        room = self.backend.context - self.context.length
        room = room if self.left is None else min(room, self.left)
        if why == "length" and not written.tokens:  # there was no room, whatever was reported:
            why = "context"  # repeating the request would never make progress
        elif why in ("length", "context"):
            requested = self.parameters.max_tokens
            why = "length" if self.allowed == requested else "context" if self.allowed == room else "budget"
        old, text = self.request.state, written.text
        if self.ends and why != "error":
            kept = closed(old, text, self.ends)
            why, text = ("closed", kept) if kept is not None else (why, text)
        count = len(written.tokens) - (written.why == "uncertain")  # that token is not part of the text
        fields = written.tokens[:count], written.logprobs[:count], written.top[:count]
        piece = Piece(text, *fields, model=self.model, hidden=written.hidden, spread=written.spread[:count])
        pieces = (*old.pieces, piece) if count > 0 or text else old.pieces
        mark = self.backend.thinking_mark(old.prompt) if isinstance(self.backend, ThinkingBackend) else ""
        return State(old.prompt, self.branch, pieces, why, error=written.error, thinking=mark)


def closed(state: State, text: str, ends: Sequence[str]) -> str | None:
    """Return the part of a new text before the first of the user's stop strings; None if it contains none.

    If a stop string begins in the earlier text, nothing is left.
    """
    before = ""
    for piece in reversed(state.pieces):
        if piece.model is None or len(before) > max(map(len, ends)):
            break
        before = piece.text + before
    tail = before[max(0, len(before) - max(map(len, ends)) + 1) :]
    kept, found = StopStrings(ends).push(tail + text)
    return kept[len(tail) :] if found else None


def cost_of(writings: Sequence[Writing], most: int) -> Cost:
    """Return the maximum total cost if each extension generates at most `most` tokens."""
    costs = [writing.cost(min(writing.allowed, most)) for writing in writings]
    return Cost(*map(sum, zip(*costs, strict=True)))._replace(sequential=max(cost.sequential for cost in costs))


def affordable(writings: Sequence[Writing], ledger: Ledger) -> int:
    """Return the maximum number of tokens per extension within the budget; -1 if even the prompts exceed it."""
    low, high = -1, max(writing.allowed for writing in writings)
    middle = high  # usually everything requested is affordable
    while low < high:
        low, high = (middle, high) if ledger.fits(cost_of(writings, middle)) else (low, middle - 1)
        middle = (low + high + 1) // 2
    return low


def begun(generation: Generation) -> dict[str, Any]:
    """Return the branch of a completion that is being generated, and the branch that it continues."""
    return {"branch": path(generation.branch), "parent": path(generation.state.branch)}


def extension(writing: Writing, state: State, written: Written) -> dict[str, Any]:
    """Return the trace entry of an extension."""
    cost = writing.cost(len(written.tokens))
    node: dict[str, Any] = {
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
    ends = paragraph_tokens(writing, node["text"], written)
    extras = {
        "appended": appended,
        "model": writing.model,
        "error": written.error,
        "other_prompt": writing.other_prompt,
        "ends": ends,
        "thinking": state.thinking,
    }
    return node | {name: value for name, value in extras.items() if value}


def paragraph_ends(text: str) -> list[int]:
    """Return the offsets after each blank line, except at the end: the steps of a completion generated in one go."""
    return [found.end() for found in re.finditer(r"\n\n+", text) if found.end() < len(text)]


def paragraph_tokens(writing: Writing, text: str, written: Written) -> list[int]:
    """Return the number of tokens up to each of `paragraph_ends`; empty if the back end cannot tell."""
    places, backend = paragraph_ends(text), writing.backend
    if not places or not written.tokens or not isinstance(backend, Spelling):
        return []
    lengths = backend.lengths(writing.state, written.tokens)
    return [min(bisect_left(lengths, place) + 1, len(lengths)) for place in places]


def _appended(state: State) -> str:
    """Return the text that was appended since a model last generated."""
    tail = list(takewhile(lambda piece: piece.model is None, reversed(state.pieces)))
    return "".join([piece.text for piece in reversed(tail)])
