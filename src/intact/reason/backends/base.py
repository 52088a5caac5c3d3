"""The protocol of back ends: they take texts to extend, and return the generated text."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.sampling.spread import Spread
from intact.reason.problem import Branch, Hidden, Piece, Prompt, State, Top, Why

if TYPE_CHECKING:
    from intact.engine.shared_cache.request import SharedRequest, SharedText

Cut = Literal["cancelled", "length"]
"""Reasons for cutting a completion: a lost race, or a limit."""


class Written(NamedTuple):
    """The text that a model generated, and its stop reason; the fields are those of `Piece` and `State`."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[int, ...]
    top: tuple[Top, ...]
    why: Why
    error: str = ""
    hidden: Hidden | None = None
    spread: tuple[Spread, ...] = ()


class Heat:
    """A race, counted in tokens. The back end advances all runners by one token before any of them gets another.

    Attributes
    ----------
    limit : int or None
        The last winner's token count, once it is known; no runner may have more tokens.
    """

    def __init__(self, runners: int, winners: int) -> None:
        self.counts = [0] * runners
        self.live = set(range(runners))
        self.limit: int | None = None
        self._winners = winners
        self._arrivals: list[tuple[int, int]] = []

    def advance(self, runner: int) -> bool:
        """Record a token; return true if it must be the runner's last."""
        self.counts[runner] += 1
        return self.over(runner)

    def leave(self, runner: int, complete: bool) -> None:
        """Record that a runner has ended; `complete` means that it stopped on its own. Only the first report counts."""
        if complete and runner in self.live:
            insort(self._arrivals, (self.counts[runner], runner))
            if len(self._arrivals) >= self._winners:
                self.limit = self._arrivals[self._winners - 1][0]
        self.live.discard(runner)

    def over(self, runner: int) -> bool:
        """Return true if a runner has reached its maximum number of tokens."""
        return self.limit is not None and self.counts[runner] >= self.limit

    def may_move(self, runner: int) -> bool:
        """Return true if a runner may have one more token now: its race is not over, and no runner is behind it."""
        return not self.over(runner) and self.counts[runner] <= self.slowest

    @property
    def winners(self) -> set[int]:
        """The winners known so far."""
        return {runner for _, runner in self._arrivals[: self._winners]}

    @property
    def slowest(self) -> int:
        """The smallest token count of the active runners."""
        return min([self.counts[runner] for runner in self.live], default=0)


@dataclass(eq=False, slots=True)
class Generation:
    """A text to extend.

    Attributes
    ----------
    parameters : SamplingParameters
        All sampling parameters, including the seed.
    branch : tuple
        Together with the seed, the key for all random draws.
    heat, runner
        The race in which it takes part, and its number in that race.
    hidden : bool
        If true, return the last hidden state.
    spread : bool
        If true, return the spread of the distribution at each position.
    known : tuple of int
        The expected tokens; a back end may use them to save time, but they never change the result.
    written : Written or None
        The result, once it has ended.
    """

    state: State
    parameters: SamplingParameters
    branch: Branch
    heat: Heat | None = None
    runner: int = 0
    hidden: bool = False
    spread: bool = False
    known: tuple[int, ...] = ()
    written: Written | None = None


@runtime_checkable
class Cutting(Protocol):
    """A back end that can cut a known completion as if stopped early, to decide races and to serve lower caps."""

    def cut(self, state: State, written: Written, tokens: int, why: Cut) -> Written:
        """Return the first `tokens` tokens of the text generated after a state."""
        ...


@runtime_checkable
class Sharing(Protocol):
    """A back end whose model can generate one completion with several workers that share a cache."""

    def tokens_of(self, state: State) -> list[int]:
        """Return the tokens of a prompt and its continuation."""
        ...

    def write_together(self, request: SharedRequest, stop: Event) -> SharedText:
        """Generate a completion and wait for it to finish; `stop` ends it early. Called in a thread.

        Raises
        ------
        IntactError
            If this model does not support shared caches.
        """
        ...


@runtime_checkable
class Spreading(Protocol):
    """A back end that may know the full distribution at each position.

    Attributes
    ----------
    spreads : bool
        If true, it reports spreads on request (`Generation.spread`).
    """

    spreads: bool


@runtime_checkable
class Spelling(Protocol):
    """A back end that can report the length of generated text after each token."""

    def lengths(self, state: State, tokens: Sequence[int]) -> list[int]:
        """Return the length of the new text after each token that continues a state, counting complete characters."""
        ...


@runtime_checkable
class Rendering(Protocol):
    """A back end that applies its own chat template to conversations.

    Attributes
    ----------
    now : datetime
        The time passed to a chat template that needs it.
    """

    now: datetime

    @property
    def needs_time(self) -> bool:
        """If true, the chat template needs the time."""
        ...

    def render(self, prompt: Prompt) -> str:
        """Return the text that the model is given for a prompt: for a conversation, the output of the chat template.

        Raises
        ------
        ParameterError
            If the prompt is a conversation and the model has no chat template, or the template rejects it.
        """
        ...

    def spells_control_tokens(self, prompt: Prompt) -> bool:
        """Return true if message contents of a conversation spell control tokens, which are treated as text."""
        ...

    def prompt_digest(self, prompt: Prompt) -> str:
        """Return the digest of a prompt's tokens if its messages do not determine them; otherwise an empty string.

        That is the case if the chat template uses the date or further variables, or if message contents spell control
        tokens, which earlier versions read as tokens.
        """
        ...


@runtime_checkable
class ThinkingBackend(Protocol):
    """A back end that knows the markers with which its model delimits thinking."""

    def thinking_mark(self, prompt: Prompt) -> str:
        """Return the marker with which a prompt opens the thinking (`intact.text.thinking.prompt_mark`)."""
        ...


class Backend(Protocol):
    """A back end that extends texts, many at a time. It is used by one thread.

    Attributes
    ----------
    context : int
        Maximum number of tokens of a prompt and its continuation.
    """

    context: int

    @property
    def caveats(self) -> tuple[str, ...]:
        """Guarantees that the back end cannot give; empty if a result is a function of its request only."""
        ...

    @property
    def identity(self) -> str:
        """Everything its results depend on besides the request: model digest and version of the arithmetic."""
        ...

    @property
    def vocabulary(self) -> str:
        """The name of the vocabulary; models that share one can continue each other's tokens."""
        ...

    def count(self, part: Prompt | Piece) -> int:
        """Return the number of tokens of a prompt or a piece of text."""
        ...

    def operations(self, start: int, count: int) -> int:
        """Return the number of integer multiply-adds for `count` positions starting at `start`."""
        ...

    def start(self, generations: Sequence[Generation]) -> None:
        """Begin generations; `max_tokens` never exceeds the room in the context."""
        ...

    def step(self) -> list[Generation]:
        """Do a slice of work; return the generations that have ended since the last call, with `written` set."""
        ...

    def cancel(self, generations: Sequence[Generation]) -> None:
        """End generations at once with the text generated so far; the next `step` returns them."""
        ...


class SharingBackend(Backend, Sharing, Protocol):
    """A back end that supports shared caches."""
