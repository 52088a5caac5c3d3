"""Penalties, biases and `min_tokens`, as edits of a sequence's next row of logits."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from intact.engine.sampling.parameters import SamplingParameters
from intact.numerics.sampling import DECIMALS, Edits, decimal, millionths

Ids = NDArray[np.int32]


def bias_q16(value: float) -> int:
    """Return a bias in Q16, rounded half up."""
    return math.floor(decimal(value) * 65536 + Fraction(1, 2))


class _Counts:
    """Counts of drawn tokens in order of first occurrence, in growing arrays."""

    def __init__(self, prompt: frozenset[int]) -> None:
        self.prompt = prompt
        self.places: dict[int, int] = {}
        self.tokens, self.counts, self.fresh = (np.zeros(16, np.int32) for _ in range(3))
        self.fresh_count = 0  # number of tokens that are not in the prompt

    def copy(self) -> _Counts:
        other = _Counts(self.prompt)
        other.places = dict(self.places)
        other.tokens, other.counts, other.fresh = self.tokens.copy(), self.counts.copy(), self.fresh.copy()
        other.fresh_count = self.fresh_count
        return other

    def add(self, token: int) -> None:
        place = self.places.get(token)
        if place is None:
            place = self.places[token] = len(self.places)
            if place == len(self.tokens):
                grown = (np.concatenate([x, np.zeros_like(x)]) for x in (self.tokens, self.counts, self.fresh))
                self.tokens, self.counts, self.fresh = grown
            self.tokens[place] = token
            if token not in self.prompt:
                self.fresh[self.fresh_count] = token
                self.fresh_count += 1
        self.counts[place] += 1


class History:
    """The tokens that a sequence has drawn so far.

    Created by `start`, which returns None if no row will ever be edited. Adding a token takes constant time; a fork
    shares the counts until one of the two adds a token.
    """

    def __init__(self, fixed: Edits, counts: _Counts | None, min_tokens: int, ends: Ids) -> None:
        self._fixed, self._counts, self._min_tokens, self._ends = fixed, counts, min_tokens, ends
        self._length, self._shared = 0, False

    @classmethod
    def start(cls, parameters: SamplingParameters, prompt: Sequence[int], ends: Collection[int]) -> History | None:
        """Start a history after a prompt; `ends` are the end tokens."""
        p = parameters
        penalized = p.repetition_penalty != 1 or p.presence_penalty != 0 or p.frequency_penalty != 0
        if not (penalized or p.logit_bias or p.min_tokens):
            return None
        finite = [(token, bias) for token, bias in p.biases if bias != -math.inf]
        seen = frozenset(prompt if p.repetition_penalty != 1 else ())
        fixed = Edits(
            biased=_ids(token for token, _ in finite),
            bias=_ids(bias_q16(bias) for _, bias in finite),
            repetition=millionths(p.repetition_penalty),
            repeated=_ids(sorted(seen)),
            presence=millionths(p.presence_penalty),
            frequency=millionths(p.frequency_penalty),
            forbidden=_ids(token for token, bias in p.biases if bias == -math.inf),
        )
        return cls(fixed, _Counts(seen) if penalized else None, p.min_tokens, _ids(sorted(ends)))

    def add(self, token: int) -> None:
        """Add a drawn token."""
        self._length += 1
        if self._counts is not None:
            if self._shared:
                self._counts, self._shared = self._counts.copy(), False
            self._counts.add(token)

    def fork(self) -> History:
        """Return a second history that continues from here."""
        other = History(self._fixed, self._counts, self._min_tokens, self._ends)
        other._length = self._length
        self._shared = other._shared = True
        return other

    def bars(self, drawn: int) -> list[str]:
        """Return the names of the rules that forbid tokens after `drawn` tokens."""
        named = ["the biases"] if len(self._fixed.forbidden) else []
        return [*named, f"min_tokens ({self._min_tokens})"] if drawn < self._min_tokens else named

    def edits(self) -> Edits | None:
        """Return the edits of the next row; tokens added later do not affect them."""
        edits, c = self._fixed, self._counts
        if self._length < self._min_tokens:
            edits = edits._replace(forbidden=np.union1d(edits.forbidden, self._ends))
        if c is not None and c.places:
            count = len(c.places)
            if edits.repetition != DECIMALS:
                edits = edits._replace(repeated=np.concatenate([edits.repeated, c.fresh[: c.fresh_count]]))
            if edits.presence or edits.frequency:
                edits = edits._replace(drawn=c.tokens[:count], counts=c.counts[:count].copy())
        lists = (edits.biased, edits.repeated, edits.drawn, edits.forbidden)
        return edits if any(map(len, lists)) else None


def _ids(values: Iterable[int]) -> Ids:
    return np.fromiter(values, np.int32)
