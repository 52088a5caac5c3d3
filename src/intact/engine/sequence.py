"""Sequences, each a text that one or more samples still have in common, and their part in a step."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from collections.abc import Sequence as Several
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import PageTable
from intact.engine.draft.base import Draft, Drafter, DrawContext, ReadingDraft, Tree
from intact.engine.hidden import KeptRows
from intact.engine.request import EncodeRequest, GenerateRequest, Request, ScoreRequest, StreamPrompt
from intact.engine.sampling.state import Rules
from intact.numerics.mix import Place
from intact.numerics.sampling import Draw, allowed

SCORED_ROWS = 64
"""Rows of logits that are held at once for a text that is scored."""
Drawn = tuple[int, int]
"""A token and its log-probability."""
Top = tuple[tuple[int, int], ...]


class Sample(NamedTuple):
    """One sample: its number in the request, and the key of its draws."""

    number: int
    key: int


class Stream:
    """A further stream of a text, for a mix: another prompt, followed by the same tokens; its own cached positions.

    Parameters
    ----------
    sequence : Sequence
        The text.
    given : StreamPrompt
        The stream's model and prompt.
    """

    adapter = -1
    """Mixes take no adapters."""
    __slots__ = ("_sequence", "_shift", "given", "table")

    def __init__(self, sequence: Sequence, given: StreamPrompt, table: PageTable) -> None:
        self._sequence, self.given, self.table = sequence, given, table
        self._shift = len(given.tokens) - len(sequence.request.prompt)

    @property
    def model(self) -> int:
        """The number of its model."""
        return self.given.model

    @property
    def length(self) -> int:
        """Tokens of the stream."""
        return self._sequence.length + self._shift

    @property
    def remaining(self) -> int:
        """Tokens that the cache lacks, at least one."""
        return self.length - self.table.length

    @property
    def skippable(self) -> int:
        """Positions whose rows of logits are not needed."""
        return self.length - 1

    def tokens(self, start: int, end: int) -> NDArray[np.int32]:
        """Return a part of the stream."""
        prompt = self.given.tokens
        drawn = self._sequence.tokens(max(start, len(prompt)) - self._shift, max(end, len(prompt)) - self._shift)
        return drawn if start >= len(prompt) else np.concatenate([prompt[start:end], drawn])

    def text(self, start: int, end: int) -> bytes:
        """Return a part of the stream as the keys of the cache's index."""
        return self.tokens(start, end).tobytes()

    def take_over(self) -> int:
        """Take over the index's pages that the cache lacks; return the positions gained."""
        return self.table.match(self.text, self.skippable) if self.remaining > 1 else 0

    def take_over_end(self) -> int:
        """Take over a page that another text has left partly filled; return the positions gained."""
        return self.table.match_end(self.text, self.skippable) if self.remaining > 1 else 0


class Sequence:
    """A text and its cached positions.

    Samples that have drawn the same tokens so far share one; a fork is a sample more.

    The cache is at least one token behind the text: the step that catches up draws what follows.

    It is the first of its `streams` itself; a mix has further ones.
    """

    model = 0
    """The number of its model among the engine's."""

    __slots__ = (
        "_base",
        "_drafted",
        "_seen",
        "draft",
        "hidden",
        "length",
        "order",
        "others",
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
        self.hidden: KeptRows | None = None  # that the draft reads
        self._drafted = -1  # the sample whose draws the draft guesses: another may be the one that stays
        self._seen = 0  # tokens that the draft has been extended by
        self.output: list[int] = []
        self._base = request.prompt  # the text before `output`; shared with forks
        self.length = len(self._base)  # tokens of the text
        self.others: tuple[Stream, ...] = ()

    @property
    def adapter(self) -> int:
        """The number of the adapter that the text passes, or -1."""
        return -1 if self.request.adapter is None else self.request.adapter

    @property
    def streams(self) -> tuple[Sequence | Stream, ...]:
        """All streams of the text, the main one first."""
        return (self, *self.others)

    @property
    def lacking(self) -> int:
        """Tokens that the caches of all streams lack."""
        return sum(stream.remaining for stream in self.streams) if self.others else self.remaining

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
        return self.drafts_later and len(self.samples) == 1

    @property
    def drafts_later(self) -> bool:
        """True if guesses may be checked along once its samples have parted."""
        request = self.request
        return isinstance(request, GenerateRequest) and request.draft and not self.others

    def draft_by(self, drafter: Drafter) -> Draft:
        """Return the draft of the text, extended to its end; forks share what was known before they parted."""
        sample = self.samples[0]
        if self.draft is None or self._drafted != sample.number:
            draws = DrawContext(self.request.sampling, sample.key, self._rules_ahead, len(self.request.keys))
            self.draft, self._seen = drafter.open(self._base.tolist(), draws), len(self._base)
            self._drafted = sample.number
        if self._seen < self.length:
            self.draft.extend(self.tokens(self._seen, self.length).tolist())
            self._seen = self.length
        if drafter.hidden and self.hidden is not None:
            cast(ReadingDraft, self.draft).read(self.hidden)
        return self.draft

    def drop(self) -> None:
        """Release the pages of all streams."""
        for stream in self.streams:
            stream.table.drop()

    def leave_ends(self) -> None:
        """Give the last page of each stream to the index."""
        for stream in self.streams:
            stream.table.leave_end(stream.text)

    def _rules_ahead(self) -> Rules | None:
        return self.rules and self.rules.ahead()

    def preempt(self) -> None:
        """Release the pages; the text stays, to be computed again."""
        self.drop()
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
            fork.others = tuple(Stream(fork, other.given, other.table.fork()) for other in self.others)
            fork.rules = self.rules and self.rules.fork()
            fork.hidden = self.hidden and self.hidden.copy()
            fork._append(token)
            forks.append(fork)
        self.samples = groups[first]
        self._append(first)
        return forks


class SequenceWork(NamedTuple):
    """Rows of one sequence in a step: tokens of its text from where its cache ends.

    Attributes
    ----------
    rows : int
        All its rows, which its streams share.
    completes : bool
        The cache catches up with the text, so that tokens can be drawn; never so if the text is scored.
    decodes : bool
        Only the text's last token is to be computed.
    shares : tuple of int
        The rows of each stream.
    """

    sequence: Sequence
    rows: int
    completes: bool
    decodes: bool
    shares: tuple[int, ...]


def work_of(sequence: Sequence, rows: int, waiting: Container[int] = ()) -> SequenceWork:
    """Return work of at most so many rows, from where a sequence's cache ends; all of a text that an encoder reads.

    The last tokens of several streams are computed in one step, which draws from all of them.

    Parameters
    ----------
    waiting : container of int
        The streams that are to have no rows.
    """
    if sequence.others:
        return _work_of_streams(sequence, rows, waiting)
    remaining = sequence.remaining
    if isinstance(sequence.request, EncodeRequest):
        return SequenceWork(sequence, remaining, False, False, shares=(remaining,))
    if isinstance(sequence.request, ScoreRequest):
        count = min(rows, remaining, SCORED_ROWS)
        return SequenceWork(sequence, count, False, False, shares=(count,))
    count = min(rows, remaining)
    return SequenceWork(sequence, count, rows >= remaining, remaining == 1, shares=(count,))


def _work_of_streams(sequence: Sequence, rows: int, waiting: Container[int]) -> SequenceWork:
    remaining = [stream.remaining for stream in sequence.streams]
    total = sum(remaining)
    if total <= rows and not waiting:
        return SequenceWork(sequence, total, True, total == len(remaining), shares=tuple(remaining))
    shares: list[int] = []
    for number, count in enumerate(remaining):
        shares.append(0 if number in waiting else min(count - 1, rows - sum(shares)))
    return SequenceWork(sequence, sum(shares), False, False, shares=tuple(shares))


class SequenceRun:
    """One sequence in a step: its rows, and the tokens drawn after its last token and along accepted drafts.

    It walks down a tree of drafts: a node is entered if it is the token that was drawn at the node before.

    Each draw is made under the edits and the mask of its place, so that it gives what a step of its own would have.

    Parameters
    ----------
    tree : Tree, optional
        Drafts, whose rows follow that of the text's last token.

    Attributes
    ----------
    firsts : list of int
        For each stream the first of its rows of logits: the last token's, then those of the nodes. The engine sets it.
    path : list of int
        The rows that were entered, 0 being the last token's.
    drawn : list of list
        The tokens that the samples drew there.
    followed : list of int
        The accepted tokens of the drafts, which led there.
    notes : dict
        What observers read there, by the field of `Event`: a value for each row of the path.
    leading : int
        Rows of logits before `first` that are run for the inputs of the head alone, of which a drafter learns.
    hidden : list of bytes
        The inputs of the head there and along the path; empty unless the drafter reads them.
    rules : Rules or None
        The rules at the path's end.
    """

    __slots__ = (
        "completes",
        "decodes",
        "drawn",
        "firsts",
        "followed",
        "hidden",
        "leading",
        "notes",
        "path",
        "rows",
        "rules",
        "sequence",
        "shares",
        "tree",
    )

    def __init__(self, work: SequenceWork, tree: Tree | None) -> None:
        self.sequence, self.rows, self.completes, self.decodes, self.shares = work
        self.tree = tree
        self.firsts: list[int] = []
        self.path = [0]
        self.drawn: list[list[Drawn]] = []
        self.followed: list[int] = []
        self.notes: dict[str, list[Any]] = {}
        self.hidden: list[bytes] = []
        self.leading = 0
        self.rules = self.sequence.rules

    @property
    def first(self) -> int:
        """The main stream's first row of logits."""
        return self.firsts[0]

    @property
    def has_results(self) -> bool:
        """True if tokens are drawn or scored in the step, or a text is read to its end."""
        return self.completes

    @property
    def wanted_rows(self) -> int:
        """The number of rows of logits to draw from, at the end of its rows: the last token's and those of the tree."""
        return self.completes + (0 if self.tree is None else len(self.tree.tokens))

    def wanted(self, end: int) -> range:
        """Return the rows whose logits are wanted, of a stream whose rows end before `end` in the step."""
        return range(end - self.wanted_rows, end)

    def notes_at(self, place: int) -> dict[str, Any]:
        """Return what observers read at a place of the path, by the field of `Event`."""
        return {field: values[place] for field, values in self.notes.items()}

    @property
    def prompted(self) -> int:
        """Rows before that of the text's last token, from where the cache ends."""
        return self.rows - self.completes

    def count_leading(self, most: int) -> int:
        """Return how many of these rows are among so many of the text's last ones."""
        return max(0, min(self.prompted, most - (self.sequence.remaining - self.prompted)))

    def keep_hidden(self, most: int) -> None:
        """Keep the inputs of the head with the text, at most so many; the cache ends where it did before the run."""
        sequence = self.sequence
        if sequence.hidden is None:
            sequence.hidden = KeptRows(most)
        sequence.hidden.add(sequence.table.length + self.prompted - self.leading, self.hidden)

    def draws(self) -> list[Draw]:
        """Return the draws of the samples at the path's end."""
        sequence, sampling = self.sequence, self.sequence.request.sampling
        row, position = self.first + self.path[-1], sequence.length + len(self.drawn)
        edits, mask = self.rules.next() if self.rules is not None else (None, None)
        return [Draw(row, sampling, sample.key, position, edits=edits, mask=mask) for sample in sequence.samples]

    def mix(self, logits: Several[NDArray[np.int32]], draws: Several[Draw]) -> None:
        """Replace the main stream's rows that are to be drawn from by those of the mix, if there is one.

        Parameters
        ----------
        logits : sequence of int32 arrays
            The rows of each model.
        """
        mixing = self.sequence.request.mixing
        if mixing is None:
            return
        main, done = logits[0], set[int]()
        for draw in draws:  # those of a row have the same edits and mask
            if draw.row in done:
                continue
            done.add(draw.row)
            after = draw.row - self.first
            streams = zip(self.sequence.streams, self.firsts, strict=True)
            rows = [logits[stream.model][first + after] for stream, first in streams]
            may = allowed(main.shape[1], draw.edits, draw.mask)
            drawn = draw.position - len(self.sequence.request.prompt)
            main[draw.row] = mixing.chosen.row(rows, Place(may, drawn))

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
        return True
