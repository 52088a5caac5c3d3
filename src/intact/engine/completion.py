"""Generation jobs: sampling parameters to engine requests, and drawn tokens to completions and stream chunks."""

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
"""An `intact.receipts.document.Receipt`, whose module belongs to a higher layer."""


@dataclass(frozen=True)
class Completion:
    """One continuation of a prompt.

    Attributes
    ----------
    text : str
        Generated text, without the token or string that ended it.
    tokens : tuple of int
        All drawn tokens, including the one that ended the sample.
    logprobs : tuple of int or None
        Natural log-probability of each token under the model (temperature 1), times 2^24; None unless requested.
    finish : {'stop', 'uncertain', 'unlikely', 'length', 'context', 'cancelled', 'error'}
        Stop reason: an end token or stop string; a token less likely than `stop_below`, which the text omits; a mean
        below `stop_mean_below`; `max_tokens`; the end of the context; cancellation; or `error`.
    prompt_tokens : int
        Number of tokens in the prompt.
    top : tuple or None
        The most likely tokens at each position, as (token, log-probability times 2^24); None unless requested.
    error : Exception or None
        Exception that ended the sample early.
    receipt : Receipt or None
        Receipt that lets third parties verify the completion (docs/spec/receipts.md); None unless requested, or if the
        completion was cut short.
    stop : str or None
        Stop string that ended the sample.
    seed : int or None
        Seed of the draws, if they were seeded. Ignored in comparisons: completions with the same tokens are equal.
    texts : tuple of str
        Text that became final with each token, as in `Chunk`; empty unless log-probabilities were requested.
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
        """Return the notebook display of the completion."""
        return completion_html(self, LOGPROB_SCALE)


@dataclass(frozen=True)
class Chunk:
    """A token of a stream, and the text that becomes final with it (possibly empty, or longer than the token's own).

    The last chunk has the stop reason, as in `Completion`, and the receipt if one was requested.
    """

    text: str
    token: int
    logprob: int
    top: tuple[tuple[int, int], ...] = ()
    receipt: Receipt | None = None
    finish: Finish | None = None


class Writer:
    """Converts the tokens of a sample to text and detects its end."""

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
        """Add a token and return the text that is now final; `at_limit` is the stop reason if it is the last one."""
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
        elif token < self._size:  # a padded embedding has more rows than the vocabulary
            chunk = self._detokenizer.push(token)
        if ended or at_limit or self._watched:
            chunk = self._cut(chunk, ended, at_limit)
        self.text.append(chunk)
        return chunk

    def _cut(self, text: str, ended: Finish | None, at_limit: Finish | None) -> str:
        """Return the final part of a chunk, and set `finish` if the sample ends with it."""
        chunk, stopped = self._stops.push(text)
        if at_limit and not stopped and not ended:
            more, stopped = self._stops.push(self._detokenizer.flush())
            chunk += more
        self.finish = "stop" if stopped else ended or at_limit
        if self.finish and not stopped:
            chunk += self._stops.flush()
        return chunk

    def end(self, finish: Finish, error: Exception | None) -> None:
        """Set the stop reason; includes text held back, unless an end token or stop string already ended the sample."""
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
"""Called with each chunk of a sample, and with None when the sample ends."""


class Recorder(Protocol):
    """Observes each token together with the input of the model's head, and creates receipts."""

    def watch(self, event: Event) -> Finish | None:
        """Observe a drawn token; return a stop reason to end the sample there, or None to continue."""

    def receipt(self, sample: int, completion: Completion) -> Receipt | None:
        """Return the receipt of a finished completion."""


class JobOptions(TypedDict, total=False):
    """The optional arguments of `Job`."""

    priority: int
    draft: bool
    listen: Listener | None
    recorder: Recorder | None
    known: Sequence[Sequence[int]] | None
    mixing: Mixing | None
    spread: bool


class Job:
    """A generation request, the text of its samples so far, and the listener to notify of each chunk.

    Parameters
    ----------
    keys : list of int
        Random key of each sample.
    context, vocabulary : int
        The model's maximum sequence length, and its number of logits.
    known : sequence of int for each sample, optional
        Expected tokens, to be verified.
    mixing : Mixing, optional
        Mix of models or prompts to draw from.
    spread : bool
        If true, writers record the entropy and certainty of the distribution at each token.
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
        """Return the completion of a sample so far."""
        completion = self.writer(sample).completion(len(self.request.prompt), logprobs)
        if self._recorder is None:
            return completion
        return replace(completion, receipt=self._recorder.receipt(sample, completion))

    def writer(self, sample: int) -> Writer:
        """Return the writer of a sample, creating it on first use."""
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
