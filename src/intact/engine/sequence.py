"""Sequences, each shared by the samples that have drawn the same tokens so far, and their share of a step."""

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
"""Maximum number of logit rows held at once when scoring."""
Drawn = tuple[int, int]
"""A token and its log-probability."""
Top = tuple[tuple[int, int], ...]


class Sample(NamedTuple):
    """A sample: its number in the request, and the random key of its draws."""

    number: int
    key: int


class Stream:
    """An additional stream of a mixed sequence: another prompt followed by the same drawn tokens, with its own cache.

    Parameters
    ----------
    sequence : Sequence
        The sequence that the stream belongs to.
    given : StreamPrompt
        Model and prompt of the stream.
    """

    adapter = -1
    """No adapter: mixes do not support them."""
    __slots__ = ("_sequence", "_shift", "given", "table")

    def __init__(self, sequence: Sequence, given: StreamPrompt, table: PageTable) -> None:
        self._sequence, self.given, self.table = sequence, given, table
        self._shift = len(given.tokens) - len(sequence.request.prompt)

    @property
    def model(self) -> int:
        """Number of the stream's model."""
        return self.given.model

    @property
    def length(self) -> int:
        """Number of tokens in the stream."""
        return self._sequence.length + self._shift

    @property
    def remaining(self) -> int:
        """Number of tokens that the cache lacks, at least one."""
        return self.length - self.table.length

    @property
    def skippable(self) -> int:
        """Number of positions whose logits are not needed."""
        return self.length - 1

    def tokens(self, start: int, end: int) -> NDArray[np.int32]:
        """Return part of the stream's tokens."""
        prompt = self.given.tokens
        drawn = self._sequence.tokens(max(start, len(prompt)) - self._shift, max(end, len(prompt)) - self._shift)
        return drawn if start >= len(prompt) else np.concatenate([prompt[start:end], drawn])

    def text(self, start: int, end: int) -> bytes:
        """Return part of the stream as keys of the prefix index."""
        return self.tokens(start, end).tobytes()

    def take_over(self) -> int:
        """Take over missing pages from the index; return the number of positions gained."""
        return self.table.match(self.text, self.skippable) if self.remaining > 1 else 0

    def take_over_end(self) -> int:
        """Take over a partly filled page left by another sequence; return the number of positions gained."""
        return self.table.match_end(self.text, self.skippable) if self.remaining > 1 else 0


class Sequence:
    """The tokens of one or more samples, with their cached positions.

    Samples that have drawn the same tokens so far share one sequence; a fork adds a sample to it.
    The cache is always at least one token short of the sequence: the step that catches up draws the next token.
    The sequence itself is the first of its `streams`; a mix has more.
    """

    model = 0
    """Number of the model within the engine."""

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
        self.running = False  # admitted: it holds pages, which only older sequences may take
        self.rules: Rules | None = None
        self.scored = 0  # scored tokens already reported
        self.draft: Draft | None = None
        self.hidden: KeptRows | None = None  # hidden states that the draft reads
        self._drafted = -1  # the sample whose draws the draft guesses; after a split, another may remain
        self._seen = 0  # number of tokens that the draft has seen
        self.output: list[int] = []
        self._base = request.prompt  # the tokens before `output`; shared with forks
        self.length = len(self._base)
        self.others: tuple[Stream, ...] = ()

    @property
    def adapter(self) -> int:
        """Number of the adapter, or -1."""
        return -1 if self.request.adapter is None else self.request.adapter

    @property
    def streams(self) -> tuple[Sequence | Stream, ...]:
        """All streams, the main one first."""
        return (self, *self.others)

    @property
    def lacking(self) -> int:
        """Number of tokens that the caches of all streams lack."""
        return sum(stream.remaining for stream in self.streams) if self.others else self.remaining

    @property
    def remaining(self) -> int:
        """Number of tokens that the cache lacks, at least one."""
        return self.length - self.table.length

    @property
    def skippable(self) -> int:
        """Number of positions whose logits are not needed, so the index may provide them."""
        return self.length - 1 if not isinstance(self.request, ScoreRequest) else self.scored

    def tokens(self, start: int, end: int) -> NDArray[np.int32]:
        """Return part of the tokens."""
        base = len(self._base)
        if start >= base:
            return np.array(self.output[start - base : end - base], np.int32)
        if end <= base:
            return self._base[start:end]
        return np.concatenate([self._base[start:], np.array(self.output[: end - base], np.int32)])

    def text(self, start: int, end: int) -> bytes:
        """Return part of the sequence as keys of the prefix index."""
        return self.tokens(start, end).tobytes()

    @property
    def last(self) -> int:
        """The last token."""
        return self.output[-1] if self.output else int(self._base[-1])

    @property
    def left(self) -> int:
        """Number of tokens that may still be drawn."""
        return self.request.end - self.length

    @property
    def may_draft(self) -> bool:
        """True if drafts may be verified for it now."""
        return self.drafts_later and len(self.samples) == 1

    @property
    def drafts_later(self) -> bool:
        """True if drafts may be verified for it now or once its samples have diverged."""
        request = self.request
        return isinstance(request, GenerateRequest) and request.draft and not self.others

    def draft_by(self, drafter: Drafter) -> Draft:
        """Return the draft, extended to the end of the sequence; forks share the part before they diverged."""
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
        """Hand the partly filled last page of each stream to the index."""
        for stream in self.streams:
            stream.table.leave_end(stream.text)

    def _rules_ahead(self) -> Rules | None:
        return self.rules and self.rules.ahead()

    def preempt(self) -> None:
        """Release the pages; the tokens stay, to be recomputed."""
        self.drop()
        self.running = False

    def take_over(self) -> int:
        """Take over missing pages from the index; return the number of positions gained."""
        return self.table.match(self.text, self.skippable) if self.remaining > 1 else 0

    def take_over_end(self) -> int:
        """Take over a partly filled page left by another sequence; return the number of positions gained."""
        return self.table.match_end(self.text, self.skippable) if self.remaining > 1 else 0

    def follow(self, tokens: list[int], rules: Rules | None) -> None:
        """Append the accepted tokens of a draft, and replace the rules by a copy that includes them."""
        self.output += tokens
        self.length += len(tokens)
        self.rules = rules

    def renew(self) -> None:
        """Reset the rules to the end of the sequence after a failed step has advanced them."""
        self.rules = self.rules and self.rules.fork()

    def _append(self, token: int) -> None:
        self.output.append(token)
        self.length += 1
        if self.rules is not None:
            self.rules.add(token)

    def split(self, groups: Mapping[int, list[Sample]], number: Callable[[], int]) -> list[Sequence]:
        """Append the drawn tokens: the first to this sequence, each other to a fork; return the forks."""
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
    """Rows of one sequence in a step: the tokens that its cache lacks.

    Attributes
    ----------
    rows : int
        Total number of rows over all streams.
    completes : bool
        If true, the cache catches up with the sequence, so that tokens can be drawn; always false when scoring.
    decodes : bool
        If true, only the last token needs to be computed.
    shares : tuple of int
        Number of rows of each stream.
    """

    sequence: Sequence
    rows: int
    completes: bool
    decodes: bool
    shares: tuple[int, ...]


def work_of(sequence: Sequence, rows: int, waiting: Container[int] = ()) -> SequenceWork:
    """Return a sequence's next work of at most `rows` rows; for an encoder, the whole input.

    The last tokens of all streams are computed in the same step, which draws from all of them.

    Parameters
    ----------
    waiting : container of int
        Streams that must not get any rows.
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

    It walks down a tree of drafts, entering a node if it matches the token drawn at its parent. Each draw uses the
    edits and mask of its position, so the result is the token that a separate step would give.

    Parameters
    ----------
    tree : Tree, optional
        Drafts, whose rows follow the last token's row.

    Attributes
    ----------
    firsts : list of int
        First logit row of each stream: the last token's row, followed by the nodes' rows. Set by the engine.
    path : list of int
        Rows that were entered; 0 is the last token.
    drawn : list of list
        Tokens that the samples drew at each row of the path.
    followed : list of int
        Accepted draft tokens along the path.
    notes : dict
        Observations by `Event` field: one value for each row of the path.
    leading : int
        Number of rows before `first` that are run only for their head inputs, from which a drafter learns.
    hidden : list of bytes
        Head inputs at those rows and along the path; empty unless the drafter reads them.
    rules : Rules or None
        The rules at the end of the path.
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
        """First logit row of the main stream."""
        return self.firsts[0]

    @property
    def has_results(self) -> bool:
        """True if the step draws or scores tokens of the sequence, or encodes it."""
        return self.completes

    @property
    def wanted_rows(self) -> int:
        """Number of logit rows to draw from, at the end of its rows: the last token and the nodes of the tree."""
        return self.completes + (0 if self.tree is None else len(self.tree.tokens))

    def wanted(self, end: int) -> range:
        """Return the rows whose logits are needed, for a stream whose rows end before `end` in the step."""
        return range(end - self.wanted_rows, end)

    def notes_at(self, place: int) -> dict[str, Any]:
        """Return the observations at a position of the path, by `Event` field."""
        return {field: values[place] for field, values in self.notes.items()}

    @property
    def prompted(self) -> int:
        """Number of rows that are computed before the last token."""
        return self.rows - self.completes

    def count_leading(self, most: int) -> int:
        """Return the number of these rows that belong to the last `most` tokens before the final one."""
        return max(0, min(self.prompted, most - (self.sequence.remaining - self.prompted)))

    def keep_hidden(self, most: int) -> None:
        """Keep up to `most` head inputs with the sequence; called before the cache advances past the run."""
        sequence = self.sequence
        if sequence.hidden is None:
            sequence.hidden = KeptRows(most)
        sequence.hidden.add(sequence.table.length + self.prompted - self.leading, self.hidden)

    def draws(self) -> list[Draw]:
        """Return the samples' draws at the end of the path."""
        sequence, sampling = self.sequence, self.sequence.request.sampling
        row, position = self.first + self.path[-1], sequence.length + len(self.drawn)
        edits, mask = self.rules.next() if self.rules is not None else (None, None)
        return [Draw(row, sampling, sample.key, position, edits=edits, mask=mask) for sample in sequence.samples]

    def mix(self, logits: Several[NDArray[np.int32]], draws: Several[Draw]) -> None:
        """Replace the rows that the main stream draws from with the mix's rows, if the request has a mix.

        Parameters
        ----------
        logits : sequence of int32 arrays
            Logit rows of each model.
        """
        mixing = self.sequence.request.mixing
        if mixing is None:
            return
        main, done = logits[0], set[int]()
        for draw in draws:  # draws of the same row have the same edits and mask
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
        """Add drawn tokens; return true if they match a draft node, where drawing continues."""
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
            if not rules.allow():  # no token may follow: the next step raises the error
                return False
            self.rules = rules
        self.path.append(node + 1)
        self.followed.append(token)
        return True
