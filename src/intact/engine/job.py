"""A request as its owner sees it: from parameters and a prompt to completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from intact.engine.completion import Chunk, Completion, Writer
from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.sampling.state import make_rules
from intact.engine.sequence import Event, Finish, Request
from intact.text import Tokenizer

if TYPE_CHECKING:
    from intact.receipts.document import Receipt

Listener = Callable[[int, "Chunk | None"], None]
"""Told each piece of a sample's text, and None once the sample has ended."""


class Recorder(Protocol):
    """Sees each token with what entered the head, and vouches for answers."""

    def watch(self, event: Event) -> Finish | None:
        """A token was drawn; a reason if its sample shall end with it."""

    def receipt(self, sample: int, completion: Completion) -> Receipt | None:
        """The receipt of an answer that is complete."""


class Job:
    """A request, the writers of its samples, and whom to tell of each piece of text.

    Parameters
    ----------
    keys : list of int
        The random key of each sample.
    context, vocabulary : int
        Of the model: the most positions of a sequence, and the outputs of its head.
    known : for each sample a sequence of int, optional
        What it is expected to draw.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        parameters: SamplingParameters,
        prompt: Sequence[int],
        keys: list[int],
        context: int,
        vocabulary: int,
        priority: int = 0,
        draft: bool = True,
        listen: Listener | None = None,
        recorder: Recorder | None = None,
        known: Sequence[Sequence[int]] | None = None,
    ) -> None:
        room = context - len(prompt)
        self._tokenizer, self._parameters, self._listen, self._recorder = tokenizer, parameters, listen, recorder
        self.writers: dict[int, Writer] = {}
        self.request = Request(
            np.array(prompt, np.int32),
            keys,
            parameters.sampling,
            min(parameters.max_tokens, room),
            self._sink,
            self._ended,
            "length" if parameters.max_tokens <= room else "context",
            priority,
            draft,
            parameters.top_logprobs,
            make_rules(tokenizer, parameters, prompt, vocabulary, len(keys)),
            None if known is None else [np.array(tokens, np.int32) for tokens in known],
            recorder is not None,
        )

    @property
    def done(self) -> bool:
        """Whether all samples have ended."""
        return self.request.live == 0

    def completion(self, sample: int, logprobs: bool) -> Completion:
        """What a sample wrote."""
        completion = self._writer(sample).completion(len(self.request.prompt), logprobs)
        if self._recorder is None:
            return completion
        return replace(completion, receipt=self._recorder.receipt(sample, completion))

    def _writer(self, sample: int) -> Writer:
        writer = self.writers.get(sample)
        if writer is None:
            writer = self.writers[sample] = Writer(self._tokenizer, self._parameters)
        return writer

    def _sink(self, event: Event) -> Finish | None:
        request, writer = self.request, self._writer(event.sample)
        stopped = self._recorder.watch(event) if self._recorder is not None else None
        piece = writer.push(event, request.at_limit if event.position + 1 >= request.end else None)
        if self._listen is not None:
            receipt = self.completion(event.sample, False).receipt if writer.finish else None
            self._listen(event.sample, Chunk(piece, event.token, event.logprob, event.top, receipt))
        return writer.finish or stopped

    def _ended(self, sample: int, finish: Finish, error: Exception | None) -> None:
        self._writer(sample).end(finish, error)
        if self._listen is not None:
            self._listen(sample, None)
