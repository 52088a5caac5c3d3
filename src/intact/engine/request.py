"""Requests of the engine: text to generate, text to score, known tokens to check, or text that an encoder reads."""

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
    """Return the message of a prompt that leaves no room for a text."""
    return f"the prompt has {length} tokens; the context of {context} leaves room for none after it"


class Event(NamedTuple):
    """A token of a sample.

    Attributes
    ----------
    position : int
        The token's place in the text, the prompt's first token being 0.
    logprob : int
        Natural log-probability under the model, times 2^24.
    top : tuple of (token, logprob)
        The likeliest tokens there, if requested.
    head : bytes
        The input of the model's head at the row that the token was drawn from, if requested; of a mix those of all
        streams, one after the other.
    uncertain : bool
        If true, the likeliest token there was less likely than the request's `stop_below`.
    spread : Spread, optional
        Entropy and certainty of the distribution there, if requested.
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
    """The beginning of a further stream of a request's texts; what is drawn follows it too.

    Attributes
    ----------
    model : int
        0: the engine's model; else the number of a partner, from 1.
    tokens : int32 array
        Its prompt.
    """

    model: int
    tokens: NDArray[np.int32]


class Mixing(NamedTuple):
    """The mix that a request's tokens are drawn from, and the streams that it takes besides the main one."""

    chosen: ChosenMix
    streams: tuple[StreamPrompt, ...]


Sink = Callable[[Event], "Finish | None"]
"""Takes a sample's token; returns a reason to end the sample with it, or None."""


GREEDY: Final = Sampling()


@dataclass(eq=False, slots=True, kw_only=True)
class Request:
    """The part that all requests have; the engine takes one of the classes below.

    Attributes
    ----------
    prompt : int32 array
        The text that is there already.
    keys : list of int
        The random key of each sample.
    limit : int
        The most tokens of a sample; at this count it ends, with `at_limit` as its reason.
    sink, ended : callable
        Called with each token in order, and once with each sample's end, and the error if one ended it.
    sampling : Sampling
        Temperature and filters.
    rules : Rules, optional
        Penalties, biases and the constraint.
    stop_below : int
        Millionths: tokens drawn where the likeliest is less likely have `Event.uncertain`.
    mixing : Mixing, optional
        The mix of several streams that is drawn from; else it is the row of the one.
    adapter : int, optional
        The adapter that the text passes, by number; -1: none; None: that of the model that runs it.
    priority : int
        From -8 to 8; one more is worth 256 steps of waiting.
    top : int
        The number of likeliest tokens to report with each token.
    heads : bool
        If true, events carry the input of the model's head.
    spread : bool
        If true, events carry the spread of the distribution.
    live : int
        Samples that have not ended; -1 before the request is queued.
    paused : bool
        If true, it takes part in no step.
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
        """The length of a text that has reached its limit."""
        return len(self.prompt) + self.limit


@dataclass(eq=False, slots=True, kw_only=True)
class GenerateRequest(Request):
    """Draw samples that continue the prompt.

    Attributes
    ----------
    draft : bool
        If true, guesses at what follows may be checked along; changes no token.
    """

    draft: bool = True


@dataclass(eq=False, slots=True, kw_only=True)
class ReplayRequest(Request):
    """Draw samples whose tokens are known unless somebody lied, so that many are checked in one step.

    Attributes
    ----------
    known : list of int32 arrays
        The expected tokens of each sample; they change no token that is drawn.
    """

    known: list[NDArray[np.int32]]


@dataclass(eq=False, slots=True, kw_only=True)
class ScoreRequest(Request):
    """Compute the log-probabilities of given tokens; nothing is drawn.

    Each given token is handed to the sink as if it had been drawn; the last ends the one sample, by a `limit` of 1.

    Attributes
    ----------
    given : int32 array
        The tokens that follow each of the prompt's.
    """

    given: NDArray[np.int32]


@dataclass(eq=False, slots=True, kw_only=True)
class EncodeRequest(Request):
    """Read a text by an encoder, which sees it whole; nothing is drawn.

    The sink gets one event, at the text's end, whose `head` has the inputs of the head at some rows, one behind the
    other; with it the one sample ends, by a `limit` of 1.

    Attributes
    ----------
    rows : {'first', 'last', 'all'}
        The rows of the text.
    """

    rows: Literal["first", "last", "all"]
