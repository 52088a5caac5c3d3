"""Engine requests: generate, replay known tokens, score given tokens, or encode an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.mixes import ChosenMix
from intact.engine.sampling.spread import Spread
from intact.engine.sampling.state import Rules
from intact.numerics.sampling import Sampling

Finish = Literal["stop", "uncertain", "unlikely", "length", "context", "cancelled", "error"]


def no_room(length: int, context: int) -> str:
    """Return the error message for a prompt that leaves no room for a continuation."""
    return f"the prompt has {length} tokens, which leaves no room for a token after it in the context of {context}"


class Event(NamedTuple):
    """A token of a sample.

    Attributes
    ----------
    position : int
        Position of the token in the sequence; the prompt starts at 0.
    logprob : int
        Natural log-probability under the model, times 2^24.
    top : tuple of (token, logprob)
        The most likely tokens at this position, if requested.
    head : bytes
        Input of the model's head at the row that the token was drawn from, if requested; for a mix, the inputs of all
        streams concatenated.
    uncertain : bool
        If true, even the most likely token at this position was less likely than the request's `stop_below`.
    spread : Spread, optional
        Entropy and certainty of the distribution, if requested.
    """

    sample: int
    token: int
    logprob: int
    position: int
    top: tuple[tuple[int, int], ...] = ()
    head: bytes = b""
    uncertain: bool = False
    spread: Spread | None = None


class StreamPrompt(NamedTuple):
    """The prompt of an additional stream of a request; drawn tokens are appended to every stream.

    Attributes
    ----------
    model : int
        0 for the engine's model, else the number of a partner, counted from 1.
    tokens : int32 array
        Prompt of the stream.
    """

    model: int
    tokens: NDArray[np.int32]


class Mixing(NamedTuple):
    """The mix that a request draws from, and the streams that it needs in addition to the main one."""

    chosen: ChosenMix
    streams: tuple[StreamPrompt, ...]


Sink = Callable[[Event], "Finish | None"]
"""Called with each token of a sample; returns a stop reason to end the sample there, or None."""


GREEDY: Final = Sampling()


@dataclass(eq=False, slots=True, kw_only=True)
class Request:
    """Fields common to all requests; the engine accepts the subclasses below.

    Attributes
    ----------
    prompt : int32 array
        Tokens of the prompt.
    keys : list of int
        Random key of each sample.
    limit : int
        Maximum number of tokens per sample; a sample that reaches it ends with the reason `at_limit`.
    sink, ended : callable
        Called with each token in order; called once at the end of each sample, with the exception that ended it, if
        any.
    sampling : Sampling
        Temperature and filters.
    rules : Rules, optional
        Penalties, biases and the constraint.
    stop_below : int
        Threshold in millionths: `Event.uncertain` is set where the most likely token is less likely than this.
    mixing : Mixing, optional
        Mix of several streams to draw from; by default, the request has a single stream.
    adapter : int, optional
        Number of the adapter; -1: no adapter; None: the default adapter of the model that runs the request.
    priority : int
        From -8 to 8; each unit is worth 256 steps of waiting.
    top : int
        Number of most likely tokens to report with each token.
    heads : bool
        If true, events carry the input of the model's head.
    spread : bool
        If true, events carry the spread of the distribution.
    live : int
        Number of samples that have not ended; -1 before the request is queued.
    paused : bool
        If true, the request is left out of every step.
    """

    prompt: NDArray[np.int32]
    keys: list[int]
    limit: int
    sink: Sink
    ended: Callable[[int, Finish, Exception | None], None]
    sampling: Sampling = GREEDY
    rules: Rules | None = None
    stop_below: int = 0
    mixing: Mixing | None = None
    adapter: int | None = None
    at_limit: Finish = "length"
    priority: int = 0
    top: int = 0
    heads: bool = False
    spread: bool = False
    live: int = -1
    paused: bool = False

    @property
    def end(self) -> int:
        """Length of a sequence that has reached its limit."""
        return len(self.prompt) + self.limit


@dataclass(eq=False, slots=True, kw_only=True)
class GenerateRequest(Request):
    """Draw samples that continue the prompt.

    Attributes
    ----------
    draft : bool
        If true, allow speculative decoding; this never changes a token.
    """

    draft: bool = True


@dataclass(eq=False, slots=True, kw_only=True)
class ReplayRequest(Request):
    """Draw samples whose tokens are expected to be known, so that many can be verified in one step.

    Attributes
    ----------
    known : list of int32 arrays
        Expected tokens of each sample; they never change a drawn token.
    """

    known: list[NDArray[np.int32]]


@dataclass(eq=False, slots=True, kw_only=True)
class ScoreRequest(Request):
    """Compute the log-probabilities of given tokens; nothing is drawn.

    The sink receives each given token as if it had been drawn; the last one ends the only sample, whose `limit` is 1.

    Attributes
    ----------
    given : int32 array
        The token that follows each token of the prompt.
    """

    given: NDArray[np.int32]


@dataclass(eq=False, slots=True, kw_only=True)
class EncodeRequest(Request):
    """Run an encoder over a whole input; nothing is drawn.

    The sink gets one event at the end of the input, whose `head` holds the head inputs of the requested rows,
    concatenated; that event ends the only sample, whose `limit` is 1.

    Attributes
    ----------
    rows : {'first', 'last', 'all'}
        Rows of the input to return.
    """

    rows: Literal["first", "last", "all"]
