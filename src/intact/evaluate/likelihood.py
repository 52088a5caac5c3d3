"""Log-probabilities of continuations."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.library import Model
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.backends.base import Backend
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.journal import Journal, JournalFolder, key_of
from intact.text import Tokenizer

FILE = "likelihoods.sqlite"


class ContinuationLikelihood(NamedTuple):
    """The log-probability of a continuation.

    Attributes
    ----------
    logprob : int
        Natural log-probability of its tokens, times 2^24.
    greedy : bool
        If true, each token is the likeliest at its position; ties go to the lower id.
    tokens, read : int
        Numbers of tokens in the continuation and in the whole text.
    """

    logprob: int
    greedy: bool
    tokens: int
    read: int

    @property
    def nats(self) -> float:
        """The log-probability in nats."""
        return self.logprob / LOGPROB_SCALE


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], int]:
    """Return the tokens of a context with its continuation, and the index where the continuation begins.

    As in lm-evaluation-harness, the text is tokenised as a whole, trailing spaces of the context belong to the
    continuation, and an empty context becomes an end token.
    """
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    if not bare:
        ends = sorted(tokenizer.eos_ids)
        return [ends[0], *tokenizer.encode(continuation)], 1
    whole = tokenizer.encode(bare + continuation)
    return whole, len(tokenizer.encode(bare))


def likelihood(model: Model, tokens: Sequence[int], start: int) -> ContinuationLikelihood:
    """Return the log-probability of the tokens from `start` on, given the tokens before.

    Raises
    ------
    ParameterError
        If there is no token before or after `start`, or the text is longer than the context.
    """
    if not 1 <= start < len(tokens):
        raise ParameterError(
            f"a context and a continuation need at least one token each, got {start} and {len(tokens) - start}"
        )
    if len(tokens) > model.context:
        raise ParameterError(f"a text of {len(tokens)} tokens is longer than the context of {model.context}")
    total, greedy = 0, True
    with model.exclusive() as engine:
        for chunks, _ in engine.prefill(tokens[:-1], adapter=model.adapter_number()):
            first = chunks[0].position
            wanted = np.arange(max(0, start - 1 - first), len(chunks[0].tokens))
            if not len(wanted):
                wanted = np.array([len(chunks[0].tokens) - 1])  # a step needs at least one row of logits
            logits = model.executor.step(chunks, wanted)
            if first + len(chunks[0].tokens) < start:
                continue
            following = np.array(tokens[first + wanted[0] + 1 : first + wanted[0] + 1 + len(wanted)], np.int64)
            total += int(model.executor.log_probabilities(logits, following).sum())
            greedy = greedy and bool((logits.argmax(axis=1) == following).all())
    return ContinuationLikelihood(total, greedy, len(tokens) - start, len(tokens))


class Likelihoods:
    """Log-probabilities of continuations; any found in the journal are not recomputed.

    Raises
    ------
    ParameterError
        If the back end is an endpoint, or samples from a mix of models.
    """

    def __init__(self, backend: Backend, folder: Path | JournalFolder | None = None) -> None:
        if not isinstance(backend, NativeBackend):
            raise ParameterError("likelihoods need a local model, not an endpoint")
        if backend.mix is not None:
            raise ParameterError("likelihoods belong to a single model: tasks that compare them do not support a mix")
        self._backend = backend
        self._journal = Journal.inside(folder, FILE)

    def of(self, context: str, choices: Sequence[str], delimiter: str = " ") -> list[ContinuationLikelihood]:
        """Return the log-probability of each choice after a context and a delimiter."""
        found = []
        for choice in choices:
            tokens, start = encode_pair(self._backend.model.tokenizer, context, delimiter + choice)
            key = key_of("likelihood", self._backend.identity, tokens, start)
            known = self._journal.find(key)
            found.append(ContinuationLikelihood(*(known or likelihood(self._backend.model, tokens, start))))
            if known is None:
                self._journal.add(key, list(found[-1]))
        self._journal.commit()
        return found

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def likeliest(found: Sequence[ContinuationLikelihood], choices: Sequence[str] = ()) -> int:
    """Return the index of the likeliest continuation; ties go to the first.

    With `choices`, continuations are compared by log-probability per character.
    """
    lengths = [max(1, len(choice)) for choice in choices] or [1] * len(found)
    shares = [Fraction(one.logprob, length) for one, length in zip(found, lengths, strict=True)]
    return shares.index(max(shares))
