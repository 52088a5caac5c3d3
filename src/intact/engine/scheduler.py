"""Who takes part in a step: oldest first, within a budget of rows, under the cache's cap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from heapq import merge
from itertools import chain, count, islice
from typing import NamedTuple

from intact.engine.cache import Block, PageTable, PrefixIndex
from intact.engine.pages import OutOfPagesError
from intact.engine.queue import Line, order
from intact.engine.sequence import Request, Sample, Sequence

FORESIGHT = 4  # pages of growth that are kept free for each sequence that runs
PATIENCE = 256  # steps of waiting that one more of priority is worth
SCORED_ROWS = 64  # rows of logits that are held at once for a text that is scored
LOOKAHEAD = (
    64  # long prompts of which a step finds out how much the index has, or how many it finds waiting for another
)
FORESEEN = 1024  # of those who wait, among whom short prompts are looked for


class Work(NamedTuple):
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


def work_of(sequence: Sequence, rows: int) -> Work:
    """At most so many rows of what a sequence's cache is behind."""
    remaining = sequence.remaining
    if sequence.request.scored is not None:
        return Work(sequence, min(rows, remaining, SCORED_ROWS), False, False)
    return Work(sequence, min(rows, remaining), rows >= remaining, remaining == 1)


@dataclass
class Counters:
    """What the scheduler and the engine did so far: proofs that a setting took effect."""

    steps: int = 0
    rows: int = 0
    largest_step: int = 0
    prefilled: int = 0
    decoded: int = 0
    shared_draws: int = 0
    cache_hits: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    forks: int = 0
    drafted: int = 0
    accepted: int = 0

    def as_dict(self) -> dict[str, int]:
        """Names and counts."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class SequenceTooLargeError(Exception):
    """A sequence that does not fit the cache even when it is alone."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence


class Scheduler:
    """Orders sequences and plans steps.

    Sequences stand in one total order: by the step at which they arrived, minus `PATIENCE` steps for each of priority,
    then by number. A step serves them in that order, so whoever waits is passed only by those who arrive within a
    bounded number of steps: nobody starves. When pages run out, idle prefixes leave first (least recently used), then
    paused sequences, then the youngest, never one that is older than who asks.

    Half of the rows for prompts are kept for short ones, those that are behind by no more than this half: they need not
    wait for a long one that came before. Where these need less, long ones have the rest, so that a step is as full as
    ever. The first in line has the other half at least, whoever comes.

    Parameters
    ----------
    rows, chunk : int
        The most rows of a step, and of these the most that compute prompts, or again what was preempted.

    Attributes
    ----------
    kept : int
        Rows for short prompts.
    """

    def __init__(self, index: PrefixIndex, rows: int, chunk: int, counters: Counters) -> None:
        self.index, self.rows, self.chunk, self.counters = index, rows, min(rows, chunk), counters
        self.kept = self.chunk // 2
        self.line = Line()
        self._number = count()
        self._promised: int | None = None  # pages that those who run will take, once this step has asked

    def add(self, request: Request) -> Sequence:
        """Queue a request, as one sequence that all its samples share."""
        arrival = self.counters.steps - PATIENCE * request.priority
        samples = [Sample(i, key) for i, key in enumerate(request.keys)]
        sequence = Sequence(request, samples, (arrival, self.number()), PageTable(self.index))
        sequence.rules = request.rules and request.rules.fork()  # whose memory goes with the sequence
        self.line.add(sequence)
        return sequence

    def number(self) -> int:
        """A number for a new sequence: younger than all."""
        return next(self._number)

    def remove(self, sequence: Sequence) -> None:
        """Let a sequence go; its pages are free at once, or idle in the index."""
        sequence.table.leave_end(sequence.text)
        self.line.remove(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """Take the pages of a sequence that runs; it will be computed again."""
        self.line.stop(sequence)
        self.counters.preemptions += 1
        self._promised = None

    def plan(self) -> list[Work]:
        """The next step's work, its pages reserved.

        Raises
        ------
        SequenceTooLargeError
            If the first in line can never run.
        """
        works: list[Work] = []
        left = _Left(self.rows, self.chunk)
        claimed: set[tuple[Block, bytes]] = set()
        short = self._short()
        asked = sum(short.values())  # by short prompts that are still to come
        self._promised = None
        self.index.pool.retry()
        for sequence in merge(list(self.line.running), self._hopeful(left), key=order):
            if not left.rows:
                break
            behind = _is_behind(sequence)
            if sequence.request.paused or (behind and not left.chunk):
                continue
            claim, gained, most = None, 0, left.rows
            if behind:
                asked -= (own := short.get(sequence, 0))
                most = min(left.rows, left.chunk if own else left.chunk - min(asked, self.kept))
                if most <= 0:
                    continue
                gained = sequence.take_over()
                claim = self._claim(sequence)
                if claim is not None and claim in claimed:  # another computes the same page in this step
                    self._let_go(sequence)
                    left.looks -= 1
                    continue
                gained += sequence.take_over_end()
            work = work_of(sequence, most)
            if not self._admit(sequence, work.rows):
                self._let_go(sequence)
                if not works and all(s is sequence or s.request.paused for s in self.line.running):
                    raise SequenceTooLargeError(sequence)
                break  # who is younger must not take what an older one waits for
            works.append(work)
            left.rows -= work.rows
            if behind:
                left.chunk -= work.rows
            if claim is not None:
                claimed.add(claim)
            if gained:
                self.counters.cache_hits += 1
                self.counters.cached_tokens += gained
        return works

    def _hopeful(self, left: _Left) -> Iterator[Sequence]:
        """Who waits, as long as there are rows for prompts."""
        for sequence in list(self.line.waiting):
            if not left.chunk or not left.looks:
                return
            yield sequence

    def _let_go(self, sequence: Sequence) -> None:
        """Let what a sequence has taken over from the index stay there, if it does not run."""
        if not sequence.running:
            sequence.table.drop()

    def _short(self) -> dict[Sequence, int]:
        """Prompts that may take the rows for short ones, each with the rows that it needs beside what the index has.

        There may be more of them behind those who could fill a step.
        """
        found: dict[Sequence, int] = {}
        looks, rows = LOOKAHEAD, self.chunk
        for sequence in chain(filter(_is_behind, self.line.running), islice(self.line.waiting, FORESEEN)):
            if rows <= 0:
                break
            if sequence.request.paused:
                continue
            needed = sequence.remaining
            if needed > self.kept and looks:
                looks -= 1
                needed -= sequence.table.known(sequence.text, sequence.skippable)
            if needed <= self.kept:
                found[sequence] = needed
                rows -= needed
        return found

    def _claim(self, sequence: Sequence) -> tuple[Block, bytes] | None:
        size = self.index.pool.page_size
        start = sequence.table.depth * size
        if not self.index.keep or start + size > sequence.skippable:
            return None  # it could not be taken over
        return sequence.table.block, sequence.text(start, start + size)

    def _admit(self, sequence: Sequence, positions: int) -> bool:
        """Have the pages for so many positions more."""
        table = sequence.table
        if table.length + positions <= table.writable:
            return True
        if not sequence.running and not self._worth_starting(sequence):
            return False
        before = self._growth(sequence) if sequence.running else 0
        if not self.make_room(table, positions, sequence):
            return False
        if self._promised is not None:
            self._promised += self._growth(sequence) - before
        if not sequence.running:
            self.line.start(sequence)
        return True

    def make_room(self, table: PageTable, positions: int, asking: Sequence | None = None) -> bool:
        """Reserve positions, if need be at the cost of who is idle, paused, or younger than who asks (if anybody)."""
        victims = self._victims(asking)
        while True:
            if (lack := table.missing(positions) - self.index.pool.free) > 0:
                if self.index.evict(lack):
                    continue
                victim = next(victims, None)
                if victim is None:
                    return False
                self.preempt(victim)
                continue
            try:
                table.reserve(positions)
                return True
            except OutOfPagesError:  # the machine has less than the cap, which has come down
                continue

    def reserve_spare(self, sequence: Sequence, positions: int) -> bool:
        """Reserve positions of a sequence, if that costs nobody else anything."""
        try:
            if sequence.table.missing(positions) <= self.index.pool.free:
                sequence.table.reserve(positions)
                return True
        except OutOfPagesError:  # the machine has less than the cap
            pass
        return False

    def _worth_starting(self, sequence: Sequence) -> bool:
        """Whether a waiting sequence is likely to stay: its text fits, and what it and those who run will write."""
        running = (s for s in reversed(self.line.running) if not s.request.paused)
        youngest = next(running, None)
        if youngest is None or youngest.order > sequence.order:
            return True
        if self._promised is None:
            self._promised = self._growth(youngest) + sum(map(self._growth, running))
        return self._promised + self._growth(sequence) <= self.index.pool.free + self.index.idle

    def _growth(self, sequence: Sequence) -> int:
        """Pages that a sequence will take: for what it is behind and, not too far ahead, half of what it may draw."""
        written = min(FORESIGHT, -(-sequence.left // (2 * self.index.pool.page_size)))
        return sequence.table.missing(sequence.remaining) + written

    def _victims(self, asking: Sequence | None) -> Iterator[Sequence]:
        """Who may lose pages, one after another: the paused, then who is younger than who asks."""
        running = self.line.running[::-1]
        for paused in (True, False):
            for s in running:
                if not paused and asking is not None and s.order <= asking.order:
                    return  # no two have one order, so that < would do the same: who asks is passed over below
                if s.request.paused == paused and s is not asking:
                    yield s


@dataclass
class _Left:
    """What a plan may still give: rows, those of them for prompts, and patience with who waits for another's page."""

    rows: int
    chunk: int
    looks: int = LOOKAHEAD


def _is_behind(sequence: Sequence) -> bool:
    """Whether a sequence has a prompt to compute, or again what was preempted."""
    return sequence.remaining > 1 or not sequence.output
