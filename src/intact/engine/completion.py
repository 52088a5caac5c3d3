"""From drawn tokens to text: completions, pieces of streams, and where they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.sequence import Event, Finish
from intact.text import StopStrings, Tokenizer

if TYPE_CHECKING:
    from intact.receipts.document import Receipt

LOGPROB_SCALE = 1 << 24


@dataclass(frozen=True)
class Completion:
    """One continuation of a prompt.

    Attributes
    ----------
    text : str
        What was written, without the token or string that ended it.
    tokens : tuple of int
        All tokens that were drawn, the one that ended it included.
    logprobs : tuple of int or None
        Natural log-probability of each token under the model (temperature 1), times 2^24; None unless asked for.
    finish : {'stop', 'length', 'context', 'cancelled', 'error'}
        An end token or stop string, `max_tokens`, the context's end; or it was cancelled, or `error` ended it.
    prompt_tokens : int
        Tokens of the prompt.
    top : tuple or None
        For each token the likeliest ones there, as (token, log-probability times 2^24); None unless asked for.
    error : Exception or None
        What ended it before its time.
    receipt : Receipt or None
        By which others can verify it (docs/receipts.md); None unless asked for, and where it was cut short.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[int, ...] | None
    finish: Finish
    prompt_tokens: int
    top: tuple[tuple[tuple[int, int], ...], ...] | None = None
    error: Exception | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True)
class Chunk:
    """A token of a stream, and the text that it makes certain (which may be empty, or more than its own).

    The last one has the answer's receipt, if one was asked for.
    """

    text: str
    token: int
    logprob: int
    top: tuple[tuple[int, int], ...] = ()
    receipt: Receipt | None = None


class Writer:
    """Turns a sample's tokens into text and finds its end."""

    __slots__ = (
        "_detokenizer",
        "_ends",
        "_size",
        "_stops",
        "_watched",
        "error",
        "finish",
        "logprobs",
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
        self.tokens: list[int] = []
        self.logprobs: list[int] = []
        self.top: list[tuple[tuple[int, int], ...]] = []
        self.text: list[str] = []
        self.finish: Finish | None = None
        self.error: Exception | None = None

    def push(self, event: Event, at_limit: Finish | None) -> str:
        """Take a token: the text that is certain now. `at_limit`: why it is the last in any case."""
        token = event.token
        self.tokens.append(token)
        self.logprobs.append(event.logprob)
        if event.top:
            self.top.append(event.top)
        ended = token in self._ends
        piece = ""
        if ended:
            piece = self._detokenizer.flush()
        elif token < self._size:  # the rows of an embedding may be more, to pad it
            piece = self._detokenizer.push(token)
        if ended or at_limit or self._watched:
            piece = self._cut(piece, ended, at_limit)
        self.text.append(piece)
        return piece

    def _cut(self, text: str, ended: bool, at_limit: Finish | None) -> str:
        """What may be shown of a piece that may be the last, and whether it is."""
        piece, stopped = self._stops.push(text)
        if at_limit and not stopped and not ended:
            more, stopped = self._stops.push(self._detokenizer.flush())
            piece += more
        self.finish = "stop" if stopped or ended else at_limit
        if self.finish and not stopped:
            piece += self._stops.flush()
        return piece

    def end(self, finish: Finish, error: Exception | None) -> None:
        """Note why the sample ended; what was held back counts as text, if no token said that it is none."""
        if self.finish is None:
            self.text += [self._stops.push(self._detokenizer.flush())[0], self._stops.flush()]
        self.finish, self.error = finish, error

    def completion(self, prompt_tokens: int, logprobs: bool) -> Completion:
        """What was written."""
        return Completion(
            "".join(self.text),
            tuple(self.tokens),
            tuple(self.logprobs) if logprobs else None,
            self.finish or "cancelled",
            prompt_tokens,
            tuple(self.top) if self.top else None,
            self.error,
        )
