"""Sequences, each a text that one or more samples still have in common, and their part in a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import PageTable
from intact.engine.draft.base import Draft, Drafter, Tree
from intact.engine.request import GenerateRequest, Request, ScoreRequest
from intact.engine.sampling.state import Rules
from intact.numerics.sampling import Draw

SCORED_ROWS = 64
"""Rows of logits that are held at once for a text that is scored."""
Drawn = tuple[int, int]
"""A token and its log-probability."""
Top = tuple[tuple[int, int], ...]


class Sample(NamedTuple):
    """One sample: its number in the request, and the key of its draws."""

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
        self.scored = 0  # rows of a text that is scored whose tokens have been reported
        self.draft: Draft | None = None
        self._seen = 0  # tokens that the draft has been extended by
        self.output: list[int] = []
        self._base = request.prompt  # the text before `output`; shared with forks
        self.length = len(self._base)  # tokens of the text

    @property
    def remaining(self) -> int:
        """Tokens that the cache lacks, at least one."""
        return self.length - self.table.length

    @property
    def skippable(self) -> int:
        """Positions whose rows of logits are not needed, so that the index may provide them."""
        return self.length - 1 if not isinstance(self.request, ScoreRequest) else self.scored

    def tokens(self, start: int, end: int) -> NDArray[np.int32]:
        """Return a part of the text."""
        base = len(self._base)
        if start >= base:
            return np.array(self.output[start - base : end - base], np.int32)
        if end <= base:
            return self._base[start:end]
        return np.concatenate([self._base[start:], np.array(self.output[: end - base], np.int32)])

    def text(self, start: int, end: int) -> bytes:
        """Return a part of the text as the keys of the cache's index."""
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
        """True if guesses may be checked along."""
        request = self.request
        return isinstance(request, GenerateRequest) and request.draft and len(self.samples) == 1

    def draft_by(self, drafter: Drafter) -> Draft:
        """Return the draft of the text, extended to its end; forks share what was known before they parted."""
        if self.draft is None:
            self.draft, self._seen = drafter.open(self._base.tolist()), len(self._base)
        if self._seen < self.length:
            self.draft.extend(self.tokens(self._seen, self.length).tolist())
            self._seen = self.length
        return self.draft

    def preempt(self) -> None:
        """Release the pages; the text stays, to be computed again."""
        self.table.drop()
        self.running = False

    def take_over(self) -> int:
        """Take over the index's pages of the text that the cache lacks; return the positions gained."""
        return self.table.match(self.text, self.skippable) if self.remaining > 1 else 0

    def take_over_end(self) -> int:
        """Take over a page that another text has left partly filled; return the positions gained."""
        return self.table.match_end(self.text, self.skippable) if self.remaining > 1 else 0

    def follow(self, tokens: list[int], rules: Rules | None) -> None:
        """Append accepted tokens of a draft, and take the rules that have seen them."""
        self.output += tokens
        self.length += len(tokens)
        self.rules = rules

    def renew(self) -> None:
        """Return the rules to the end of the text, after a step that went ahead of it has failed."""
        self.rules = self.rules and self.rules.fork()

    def _append(self, token: int) -> None:
        self.output.append(token)
        self.length += 1
        if self.rules is not None:
            self.rules.add(token)

    def split(self, groups: Mapping[int, list[Sample]], number: Callable[[], int]) -> list[Sequence]:
        """Append the tokens drawn: the first one here, each other to a fork; return the forks."""
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


class SequenceWork(NamedTuple):
    """Rows of one sequence in a step: `rows` tokens of its text from where its cache ends.

    Attributes
    ----------
    completes : bool
        The cache catches up with the text, so that tokens can be drawn; never so if the text is scored.
    decodes : bool
        Only the text's last token is to be computed.
    """

    sequence: Sequence
    rows: int
    completes: bool
    decodes: bool


def work_of(sequence: Sequence, rows: int) -> SequenceWork:
    """Return work of at most so many rows, from where a sequence's cache ends."""
    remaining = sequence.remaining
    if isinstance(sequence.request, ScoreRequest):
        return SequenceWork(sequence, min(rows, remaining, SCORED_ROWS), False, False)
    return SequenceWork(sequence, min(rows, remaining), rows >= remaining, remaining == 1)


class SequenceRun:
    """One sequence in a step: its rows, and the tokens drawn after its last token and along accepted drafts.

    It walks down a tree of drafts: a node is entered if it is the token that was drawn at the node before.

    Each draw is made under the edits and the mask of its place, so that it gives what a step of its own would have.

    Parameters
    ----------
    tree : Tree, optional
        Drafts, whose rows follow that of the text's last token.
    first : int
        The first of its rows of logits: the last token's, then those of the nodes.

    Attributes
    ----------
    path : list of int
        The rows that were entered, 0 being the last token's.
    drawn : list of list
        The tokens that the samples drew there.
    followed : list of int
        The accepted tokens of the drafts, which led there.
    tops : list
        The likeliest tokens there.
    heads : list of bytes
        The inputs of the head there; empty unless requested.
    rules : Rules or None
        The rules at the path's end.
    """

    __slots__ = (
        "completes",
        "decodes",
        "drawn",
        "first",
        "followed",
        "heads",
        "path",
        "rows",
        "rules",
        "sequence",
        "tops",
        "tree",
    )

    def __init__(self, work: SequenceWork, tree: Tree | None, first: int) -> None:
        self.sequence, self.rows, self.completes, self.decodes = work
        self.tree, self.first = tree, first
        self.path = [0]
        self.drawn: list[list[Drawn]] = []
        self.followed: list[int] = []
        self.tops: list[Top] = [()]
        self.heads: list[bytes] = []
        self.rules = self.sequence.rules

    def draws(self) -> list[Draw]:
        """Return the draws of the samples at the path's end."""
        sequence, sampling = self.sequence, self.sequence.request.sampling
        row, position = self.first + self.path[-1], sequence.length + len(self.drawn)
        edits, mask = self.rules.next() if self.rules is not None else (None, None)
        return [Draw(row, sampling, sample.key, position, edits, mask) for sample in sequence.samples]

    def take(self, drawn: list[Drawn]) -> bool:
        """Take drawn tokens; return true if they lead on to a draft, at which to draw again."""
        self.drawn.append(drawn)
        if self.tree is None:
            return False
        token = drawn[0][0]
        node = self.tree.child(self.path[-1] - 1, token)
        if node is None:
            return False
        if self.rules is not None:
            rules = self.rules.ahead()
            rules.add(token)
            if not rules.allow():  # nothing follows: the next step raises the error
                return False
            self.rules = rules
        self.path.append(node + 1)
        self.followed.append(token)
        self.tops.append(())
        return True
