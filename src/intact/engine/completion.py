"""From parameters to a request, and from drawn tokens to text: jobs, completions and chunks of streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, TypedDict

import numpy as np

from intact._base.markup.answers import completion_html
from intact._base.markup.render import quoted
from intact.engine.request import Event, Finish, GenerateRequest, Mixing, ReplayRequest, Request
from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.sampling.spread import Spread
from intact.engine.sampling.state import make_rules
from intact.engine.sampling.stopping import is_unlikely
from intact.numerics.sampling import LOGPROB_SCALE, millionths
from intact.text import StopStrings, Tokenizer

Receipt: TypeAlias = Any
"""An `intact.receipts.document.Receipt`, which is of a higher storey."""


@dataclass(frozen=True)
class Completion:
    """One continuation of a prompt.

    Attributes
    ----------
    text : str
        The text, without the token or string that ended it.
    tokens : tuple of int
        All tokens that were drawn, the one that ended it included.
    logprobs : tuple of int or None
        Natural log-probability of each token under the model (temperature 1), times 2^24; None unless requested.
    finish : {'stop', 'uncertain', 'unlikely', 'length', 'context', 'cancelled', 'error'}
        An end token or stop string; a token less likely than `stop_below`, which the text is without; a mean below
        `stop_mean_below`; `max_tokens`, the context's end; or it was cancelled, or `error` ended it.
    prompt_tokens : int
        Tokens of the prompt.
    top : tuple or None
        For each token the likeliest ones there, as (token, log-probability times 2^24); None unless requested.
    error : Exception or None
        The error that ended it early.
    receipt : Receipt or None
        The receipt, by which others can verify it (docs/receipts.md); None unless requested, or if it was cut short.
    stop : str or None
        The stop string that ended it.
    seed : int or None
        The seed of its draws, where it was made by one. It is no part of the value: completions of the same tokens are
        equal.
    texts : tuple of str
        The text that each token made certain, as `Chunk` has it, where log-probabilities were requested.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[int, ...] | None
    finish: Finish
    prompt_tokens: int
    top: tuple[tuple[tuple[int, int], ...], ...] | None = None
    error: Exception | None = None
    receipt: Receipt | None = None
    stop: str | None = None
    seed: int | None = field(default=None, compare=False)
    texts: tuple[str, ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        error = "" if self.error is None else f", {type(self.error).__name__}"
        return f"Completion({quoted(self.text)}, {self.finish}{error}, {len(self.tokens)} tokens)"

    def _repr_html_(self) -> str:
        """Return it for a notebook."""
        return completion_html(self, LOGPROB_SCALE)


@dataclass(frozen=True)
class Chunk:
    """A token of a stream, and the text that it makes certain (which may be empty, or more than its own).

    The last one has the reason of the end, as in `Completion`, and the answer's receipt, if one was asked for.
    """

    text: str
    token: int
    logprob: int
    top: tuple[tuple[int, int], ...] = ()
    receipt: Receipt | None = None
    finish: Finish | None = None


class Writer:
    """Turns the tokens of a sample into text, and finds its end."""

    __slots__ = (
        "_bound",
        "_detokenizer",
        "_ends",
        "_size",
        "_stops",
        "_watched",
        "_window",
        "error",
        "finish",
        "logprobs",
        "spreads",
        "text",
        "tokens",
        "top",
    )

    def __init__(self, tokenizer: Tokenizer, parameters: SamplingParameters) -> None:
        self._detokenizer = tokenizer.stream()
        self._stops = StopStrings(parameters.stop)
        self._watched = bool(parameters.stop)
        self._ends = frozenset[int]() if parameters.ignore_eos else tokenizer.eos_ids
        self._size = tokenizer.size
        self._bound, self._window = millionths(parameters.stop_mean_below), parameters.stop_window
        self.tokens: list[int] = []
        self.logprobs: list[int] = []
        self.top: list[tuple[tuple[int, int], ...]] = []
        self.spreads: list[Spread] = []
        self.text: list[str] = []
        self.finish: Finish | None = None
        self.error: Exception | None = None

    def push(self, event: Event, at_limit: Finish | None) -> str:
        """Take a token and return the text that is certain now; `at_limit` is why it is the last in any case."""
        token = event.token
        self.tokens.append(token)
        self.logprobs.append(event.logprob)
        if event.top:
            self.top.append(event.top)
        if event.spread is not None:
            self.spreads.append(event.spread)
        ended: Finish | None = "uncertain" if event.uncertain else "stop" if token in self._ends else None
        if is_unlikely(self.logprobs, self._bound, self._window):
            at_limit = "unlikely"
        chunk = ""
        if ended:
            chunk = self._detokenizer.flush()
        elif token < self._size:  # the rows of an embedding may be more, to pad it
            chunk = self._detokenizer.push(token)
        if ended or at_limit or self._watched:
            chunk = self._cut(chunk, ended, at_limit)
        self.text.append(chunk)
        return chunk

    def _cut(self, text: str, ended: Finish | None, at_limit: Finish | None) -> str:
        """Return the certain part of a chunk that may be the last, and set `finish` if it is."""
        chunk, stopped = self._stops.push(text)
        if at_limit and not stopped and not ended:
            more, stopped = self._stops.push(self._detokenizer.flush())
            chunk += more
        self.finish = "stop" if stopped else ended or at_limit
        if self.finish and not stopped:
            chunk += self._stops.flush()
        return chunk

    def end(self, finish: Finish, error: Exception | None) -> None:
        """Set the reason of the end; text that was held back counts, unless an end token or stop string came."""
        if self.finish is None:
            self.text += [self._stops.push(self._detokenizer.flush())[0], self._stops.flush()]
        self.finish, self.error = finish, error

    def completion(self, prompt_tokens: int, logprobs: bool) -> Completion:
        """Return the text so far as a completion."""
        return Completion(
            "".join(self.text),
            tuple(self.tokens),
            tuple(self.logprobs) if logprobs else None,
            self.finish or "cancelled",
            prompt_tokens=prompt_tokens,
            top=tuple(self.top) if self.top else None,
            error=self.error,
            stop=self._stops.matched,
            texts=tuple(self.text[: len(self.tokens)]) if logprobs else (),
        )


Listener = Callable[[int, "Chunk | None"], None]
"""Called with each chunk of a sample, and with None once the sample has ended."""


class Recorder(Protocol):
    """Sees each token with the input of the head, and makes receipts of answers."""

    def watch(self, event: Event) -> Finish | None:
        """Take a token that was drawn; return a reason to end its sample with it, or None."""

    def receipt(self, sample: int, completion: Completion) -> Receipt | None:
        """Return the receipt of a complete answer."""


class JobOptions(TypedDict, total=False):
    """The arguments of `Job` that have defaults."""

    priority: int
    draft: bool
    listen: Listener | None
    recorder: Recorder | None
    known: Sequence[Sequence[int]] | None
    mixing: Mixing | None
    spread: bool


class Job:
    """A request to continue a prompt, the text of its samples so far, and a listener to notify of each chunk.

    Parameters
    ----------
    keys : list of int
        The random key of each sample.
    context, vocabulary : int
        Of the model: the most positions of a sequence, and the outputs of its head.
    known : sequence of int for each sample, optional
        The tokens that are expected, to be checked.
    mixing : Mixing, optional
        The mix that is drawn from.
    spread : bool
        If true, writers keep the spread of the distribution at each token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        parameters: SamplingParameters,
        prompt: Sequence[int],
        *,
        keys: list[int],
        context: int,
        vocabulary: int,
        priority: int = 0,
        draft: bool = True,
        listen: Listener | None = None,
        recorder: Recorder | None = None,
        known: Sequence[Sequence[int]] | None = None,
        mixing: Mixing | None = None,
        spread: bool = False,
    ) -> None:
        room = context - len(prompt)
        self._tokenizer, self._parameters, self._listen, self._recorder = tokenizer, parameters, listen, recorder
        self.writers: dict[int, Writer] = {}
        fields: dict[str, Any] = {
            "prompt": np.array(prompt, np.int32),
            "keys": keys,
            "sampling": parameters.sampling,
            "stop_below": millionths(parameters.stop_below),
            "limit": min(parameters.max_tokens, room),
            "sink": self._sink,
            "ended": self._ended,
            "at_limit": "length" if parameters.max_tokens <= room else "context",
            "priority": priority,
            "mixing": mixing,
            "top": parameters.top_logprobs,
            "rules": make_rules(tokenizer, parameters, prompt, vocabulary, texts=len(keys))
            if parameters.has_rules
            else None,
            "heads": recorder is not None,
            "spread": spread,
        }
        self.request: Request
        if known is None:
            self.request = GenerateRequest(**fields, draft=draft)
        else:
            self.request = ReplayRequest(**fields, known=[np.array(tokens, np.int32) for tokens in known])

    @property
    def done(self) -> bool:
        """True if all samples have ended."""
        return self.request.live == 0

    def completion(self, sample: int, logprobs: bool) -> Completion:
        """Return the text of a sample so far."""
        completion = self.writer(sample).completion(len(self.request.prompt), logprobs)
        if self._recorder is None:
            return completion
        return replace(completion, receipt=self._recorder.receipt(sample, completion))

    def writer(self, sample: int) -> Writer:
        """Return the writer of a sample, made when it is first asked for."""
        writer = self.writers.get(sample)
        if writer is None:
            writer = self.writers[sample] = Writer(self._tokenizer, self._parameters)
        return writer

    def _sink(self, event: Event) -> Finish | None:
        request, writer = self.request, self.writer(event.sample)
        stopped = self._recorder.watch(event) if self._recorder is not None else None
        chunk = writer.push(event, request.at_limit if event.position + 1 >= request.end else None)
        if self._listen is not None:
            receipt = self.completion(event.sample, False).receipt if writer.finish else None
            self._listen(
                event.sample, Chunk(chunk, event.token, event.logprob, event.top, receipt=receipt, finish=writer.finish)
            )
        return writer.finish or stopped

    def _ended(self, sample: int, finish: Finish, error: Exception | None) -> None:
        self.writer(sample).end(finish, error)
        if self._listen is not None:
            self._listen(sample, None)
