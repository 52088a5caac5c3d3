"""What the scheduler moves: requests, and sequences, each a text that one or more samples still have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import PageTable
from intact.numerics.sampling import Sampling

if TYPE_CHECKING:
    from intact.engine.draft.base import Draft, Drafter
    from intact.engine.sampling.state import Rules

Finish = Literal["stop", "length", "context", "cancelled", "error"]


class Event(NamedTuple):
    """A token that a sample drew.

    Attributes
    ----------
    position : int
        The token's place in the text, the prompt's first token being 0.
    logprob : int
        Natural log-probability under the model, times 2^24.
    top : tuple of (token, logprob)
        The likeliest tokens there, if asked for.
    head : bytes
        What entered the head to give the logits that it was drawn from, if asked for.
    """

    sample: int
    token: int
    logprob: int
    position: int
    top: tuple[tuple[int, int], ...] = ()
    head: bytes = b""


Sink = Callable[[Event], "Finish | None"]
"""Takes a sample's token; a reason if it was the last."""


@dataclass(eq=False, slots=True)
class Request:
    """A prompt, and the samples to draw from it.

    Attributes
    ----------
    keys : list of int
        The random key of each sample.
    limit : int
        The most tokens of a sample; at this count it ends, with `at_limit` as its reason.
    sink, ended : callable
        Told each token in order, and each sample's end once, with the error if one ended it.
    priority : int
        From -8 to 8; one more is worth 256 steps of waiting.
    live : int
        Samples that have not ended; -1 before the request is queued.
    end : int
        The length of a text that has reached its limit.
    draft : bool
        Whether guesses at what follows may be checked along; changes no token.
    known : list of int32 arrays, optional
        What each sample is expected to draw, so that much of it is checked at once; changes no token either.
    heads : bool
        Whether events carry what entered the head.
    scored : int32 array, optional
        The tokens that follow each of the prompt's. With these nothing is drawn: each is told the sink as if it had
        been, and the last ends the one sample, by a `limit` of 1.
    """

    prompt: NDArray[np.int32]
    keys: list[int]
    sampling: Sampling
    limit: int
    sink: Sink
    ended: Callable[[int, Finish, Exception | None], None]
    at_limit: Finish = "length"
    priority: int = 0
    draft: bool = True
    top: int = 0
    rules: Rules | None = None
    known: list[NDArray[np.int32]] | None = None
    heads: bool = False
    scored: NDArray[np.int32] | None = None
    live: int = -1
    paused: bool = False
    end: int = field(init=False)

    def __post_init__(self) -> None:
        self.end = len(self.prompt) + self.limit


class Sample(NamedTuple):
    """One branch: its number in the request, and the key of its draws."""

    number: int
    key: int


class Sequence:
    """A text and its cached positions.

    Samples that have drawn the same tokens so far share one; a fork is a sample more.

    The cache is at least one token behind the text: the step that catches up draws what follows.
    """

    __slots__ = (
        "_base",
        "_seen",
        "draft",
        "length",
        "order",
        "output",
        "request",
        "rules",
        "running",
        "samples",
        "scored",
        "table",
    )

    def __init__(self, request: Request, samples: list[Sample], order: tuple[int, int], table: PageTable) -> None:
        self.request, self.samples, self.order, self.table = request, samples, order, table
        self.running = False  # admitted: it holds pages, and others make room for it only if they are older
        self.rules: Rules | None = None
        self.scored = 0  # rows of a text that is scored whose tokens have been told
        self.draft: Draft | None = None
        self._seen = 0  # tokens that the draft has been told
        self.output: list[int] = []
        self._base = request.prompt  # the text before `output`; shared with forks
        self.length = len(self._base)  # tokens of the text

    @property
    def remaining(self) -> int:
        """Tokens that the cache is behind, at least one."""
        return self.length - self.table.length

    @property
    def skippable(self) -> int:
        """Positions whose rows of logits nobody needs, or needs any more: the index may have them."""
        return self.length - 1 if self.request.scored is None else self.scored

    def tokens(self, start: int, end: int) -> NDArray[np.int32]:
        """Part of the text."""
        base = len(self._base)
        if start >= base:
            return np.array(self.output[start - base : end - base], np.int32)
        if end <= base:
            return self._base[start:end]
        return np.concatenate([self._base[start:], np.array(self.output[: end - base], np.int32)])

    def text(self, start: int, end: int) -> bytes:
        """Part of the text, as the cache's index knows it."""
        return self.tokens(start, end).tobytes()

    @property
    def last(self) -> int:
        """The text's last token."""
        return self.output[-1] if self.output else int(self._base[-1])

    @property
    def left(self) -> int:
        """Tokens that may still be drawn."""
        return self.request.end - self.length

    @property
    def may_draft(self) -> bool:
        """Whether guesses may be checked along."""
        return self.request.draft and len(self.samples) == 1

    def draft_by(self, drafter: Drafter) -> Draft:
        """Guesses at what follows, made by one who has seen the text; forks share what is known of it before them."""
        if self.draft is None:
            self.draft, self._seen = drafter.open(self._base.tolist()), len(self._base)
        if self._seen < self.length:
            self.draft.extend(self.tokens(self._seen, self.length).tolist())
            self._seen = self.length
        return self.draft

    def preempt(self) -> None:
        """Give the pages back; the text stays, to be computed again."""
        self.table.drop()
        self.running = False

    def take_over(self) -> int:
        """Have the index's pages of the text that the cache is behind; the positions gained."""
        return self.table.match(self.text, self.skippable) if self.remaining > 1 else 0

    def take_over_end(self) -> int:
        """Have what another text has left of a page that it did not fill; the positions gained."""
        return self.table.match_end(self.text, self.skippable) if self.remaining > 1 else 0

    def follow(self, tokens: list[int], rules: Rules | None) -> None:
        """Append tokens of a draft, by which these rules have gone on."""
        self.output += tokens
        self.length += len(tokens)
        self.rules = rules

    def renew(self) -> None:
        """Forget how far the rules were looked at: a step that went ahead of the text has failed."""
        self.rules = self.rules and self.rules.fork()

    def _append(self, token: int) -> None:
        self.output.append(token)
        self.length += 1
        if self.rules is not None:
            self.rules.add(token)

    def split(self, groups: Mapping[int, list[Sample]], number: Callable[[], int]) -> list[Sequence]:
        """Append what the samples drew: the first token here, each other to a fork; the forks."""
        first, *others = groups
        forks = []
        if others:
            self._base, self.output = self.tokens(0, self.length), []
        for token in others:
            fork = Sequence(self.request, groups[token], (self.order[0], number()), self.table.fork())
            fork._base, fork.length, fork.running = self._base, self.length, self.running
            fork.rules = self.rules and self.rules.fork()
            fork._append(token)
            forks.append(fork)
        self.samples = groups[first]
        self._append(first)
        return forks
