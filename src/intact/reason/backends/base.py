"""The protocol of back ends: texts to extend go in, what was written comes out."""

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
"""Why a text has no more tokens: a lost race, or a limit."""


class Written(NamedTuple):
    """The text that a model wrote, and why it ended; the fields are those of `Piece` and `State`."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[int, ...]
    top: tuple[Top, ...]
    why: Why
    error: str = ""
    hidden: Hidden | None = None
    spread: tuple[Spread, ...] = ()


class Heat:
    """A race, counted in tokens. The back end moves all runners by one token before any moves by another.

    Attributes
    ----------
    limit : int or None
        The last winner's count of tokens, once it is known: nobody may have more.
    """

    def __init__(self, runners: int, winners: int) -> None:
        self.counts = [0] * runners
        self.live = set(range(runners))
        self.limit: int | None = None
        self._winners = winners
        self._arrivals: list[tuple[int, int]] = []

    def advance(self, runner: int) -> bool:
        """Note a token; whether it has to be the last."""
        self.counts[runner] += 1
        return self.over(runner)

    def leave(self, runner: int, complete: bool) -> None:
        """Note that a runner has ended: `complete`, if by its own end. The first word about it counts."""
        if complete and runner in self.live:
            insort(self._arrivals, (self.counts[runner], runner))
            if len(self._arrivals) >= self._winners:
                self.limit = self._arrivals[self._winners - 1][0]
        self.live.discard(runner)

    def over(self, runner: int) -> bool:
        """Return whether a runner has as many tokens as it may have."""
        return self.limit is not None and self.counts[runner] >= self.limit

    def may_move(self, runner: int) -> bool:
        """Return whether a runner may have one more token now: its race is not over, and no other has fewer."""
        return not self.over(runner) and self.counts[runner] <= self.slowest

    @property
    def winners(self) -> set[int]:
        """Those who have won, as far as it is known."""
        return {runner for _, runner in self._arrivals[: self._winners]}

    @property
    def slowest(self) -> int:
        """The least count of those who run."""
        return min([self.counts[runner] for runner in self.live], default=0)


@dataclass(eq=False, slots=True)
class Generation:
    """A text to extend.

    Attributes
    ----------
    parameters : SamplingParameters
        All of them, with the seed.
    branch : tuple
        With the seed the key of all draws.
    heat, runner
        The race that it takes part in, and its number there.
    hidden : bool
        Whether the last hidden state is asked for.
    spread : bool
        If true, the spread of the distribution is asked for with each token.
    known : tuple of int
        What is expected to be written: it changes nothing but the time, where the back end makes use of it.
    written : Written or None
        What came of it, once it has ended.
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
    """A back end that can tell what a text would be had it been cut: known ones decide races, and serve lower caps."""

    def cut(self, state: State, written: Written, tokens: int, why: Cut) -> Written:
        """Return the first so many tokens of what was written after a state."""
        ...


@runtime_checkable
class Sharing(Protocol):
    """A back end whose model can write a text as several workers, into a cache that they share."""

    def tokens_of(self, state: State) -> list[int]:
        """Return the tokens of a prompt and all that follows."""
        ...

    def write_together(self, request: SharedRequest, stop: Event) -> SharedText:
        """Write a text and wait for its end, which `stop` brings about early. Called in a thread.

        Raises
        ------
        IntactError
            If this model cannot.
        """
        ...


@runtime_checkable
class Spreading(Protocol):
    """A back end that may know the whole distribution behind each token.

    Attributes
    ----------
    spreads : bool
        If true, it reports spreads where they are asked for (`Generation.spread`).
    """

    spreads: bool


@runtime_checkable
class Spelling(Protocol):
    """A back end that can tell how long a text was behind each of its tokens."""

    def lengths(self, state: State, tokens: Sequence[int]) -> list[int]:
        """Return the length of the new text after each token that goes on from a state, as far as it is complete."""
        ...


@runtime_checkable
class Rendering(Protocol):
    """A back end that applies a chat template of its own to conversations.

    Attributes
    ----------
    now : datetime
        The time given to a chat template that needs it.
    """

    now: datetime

    @property
    def needs_time(self) -> bool:
        """If true, the chat template needs the time."""
        ...

    def render(self, prompt: Prompt) -> str:
        """Return the text that the model is given for a prompt: of a conversation what the chat template writes.

        Raises
        ------
        ParameterError
            If a conversation is asked of a model without a chat template, or the template refuses it.
        """
        ...

    def spells_control_tokens(self, prompt: Prompt) -> bool:
        """Return whether contents of a conversation spell control tokens, which are text there."""
        ...

    def prompt_digest(self, prompt: Prompt) -> str:
        """Return the digest of a prompt's tokens where its messages alone do not tell them; else nothing.

        That is where the chat template asks for the date or is given more than messages, and where contents spell
        control tokens, which earlier versions read as tokens.
        """
        ...


@runtime_checkable
class ThinkingBackend(Protocol):
    """A back end that knows by which marks its model sets thoughts apart."""

    def thinking_mark(self, prompt: Prompt) -> str:
        """Return the mark that a prompt begins a text's thoughts with (`intact.text.thinking.prompt_mark`)."""
        ...


class Backend(Protocol):
    """Extends texts, many at a time. Used by one thread.

    Attributes
    ----------
    context : int
        The most tokens of a prompt and all that follows.
    """

    context: int

    @property
    def caveats(self) -> tuple[str, ...]:
        """The promises that it cannot keep; empty where a result is a function of its request."""
        ...

    @property
    def identity(self) -> str:
        """Whatever its results depend on besides the request: digest of the model, version of the arithmetic."""
        ...

    @property
    def vocabulary(self) -> str:
        """The name of the vocabulary; models that share one may go on from each other's tokens."""
        ...

    def count(self, part: Prompt | Piece) -> int:
        """Return the tokens of a prompt or of a piece of text."""
        ...

    def operations(self, start: int, count: int) -> int:
        """The integer multiply-adds that `count` positions from `start` take."""
        ...

    def start(self, generations: Sequence[Generation]) -> None:
        """Begin; `max_tokens` never exceeds what the context leaves."""
        ...

    def step(self) -> list[Generation]:
        """Work for a moment; what has ended since the last time, with `written` filled in."""
        ...

    def cancel(self, generations: Sequence[Generation]) -> None:
        """End generations at once, with what they have written until now; they come back from the next `step`."""
        ...


class SharingBackend(Backend, Sharing, Protocol):
    """A back end that is both."""
