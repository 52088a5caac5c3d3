"""The scheduler: which sequences take part in a step, oldest first, within a budget of rows and the cache's cap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from heapq import merge
from itertools import chain, count, islice

from intact.engine.cache import Block, OutOfPagesError, PageTable, PrefixIndex
from intact.engine.queue import RequestQueue, order
from intact.engine.request import Request
from intact.engine.sequence import Sample, Sequence, SequenceWork, work_of

FORESIGHT = 4  # pages kept free for the growth of each running sequence
PATIENCE = 256  # steps of waiting that one more of priority is worth
LOOKAHEAD = (
    64  # long prompts of which a step finds out how much the index has, or how many it finds waiting for another
)
FORESEEN = 1024  # waiting sequences that are searched for short prompts


@dataclass
class Counters:
    """Counts of what the scheduler and the engine did so far: proofs that a setting took effect."""

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
        """Return the counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class SequenceTooLargeError(Exception):
    """A sequence does not fit the cache even when it is alone."""

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
    ever. The first in the queue has the other half at least.

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
        self.queue = RequestQueue()
        self._number = count()
        self._promised: int | None = None  # pages that running sequences will take, once computed in this step

    def add(self, request: Request) -> Sequence:
        """Queue a request, as one sequence that all its samples share."""
        arrival = self.counters.steps - PATIENCE * request.priority
        samples = [Sample(i, key) for i, key in enumerate(request.keys)]
        sequence = Sequence(request, samples, (arrival, self.number()), PageTable(self.index))
        sequence.rules = request.rules and request.rules.fork()  # freed with the sequence
        self.queue.add(sequence)
        return sequence

    def number(self) -> int:
        """Return a number for a new sequence: younger than all."""
        return next(self._number)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence; its pages are free at once, or idle in the index."""
        sequence.table.leave_end(sequence.text)
        self.queue.remove(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """Preempt a running sequence: release its pages; it will be computed again."""
        self.queue.stop(sequence)
        self.counters.preemptions += 1
        self._promised = None

    def plan(self) -> list[SequenceWork]:
        """Return the next step's work, its pages reserved.

        Raises
        ------
        SequenceTooLargeError
            If the first in the queue can never run.
        """
        works: list[SequenceWork] = []
        left = _Left(self.rows, self.chunk)
        claimed: set[tuple[Block, bytes]] = set()
        short = self._short()
        reserved = sum(short.values())  # rows for short prompts that are still to come
        self._promised = None
        self.index.pool.retry()
        for sequence in merge(list(self.queue.running), self._waiting(left), key=order):
            if not left.rows:
                break
            prefill = _is_prefill(sequence)
            if sequence.request.paused or (prefill and not left.chunk):
                continue
            claim, gained, most = None, 0, left.rows
            if prefill:
                reserved -= (own := short.get(sequence, 0))
                most = min(left.rows, left.chunk if own else left.chunk - min(reserved, self.kept))
                if most <= 0:
                    continue
                gained = sequence.take_over()
                claim = self._claim(sequence)
                if claim is not None and claim in claimed:  # another computes the same page in this step
                    self._release(sequence)
                    left.looks -= 1
                    continue
                gained += sequence.take_over_end()
            work = work_of(sequence, most)
            if not self._admit(sequence, work.rows):
                self._release(sequence)
                if not works and all(s is sequence or s.request.paused for s in self.queue.running):
                    raise SequenceTooLargeError(sequence)
                break  # a younger one must not take what an older one waits for
            works.append(work)
            left.rows -= work.rows
            if prefill:
                left.chunk -= work.rows
            if claim is not None:
                claimed.add(claim)
            if gained:
                self.counters.cache_hits += 1
                self.counters.cached_tokens += gained
        return works

    def _waiting(self, left: _Left) -> Iterator[Sequence]:
        """Yield sequences that wait, while there are rows for prompts."""
        for sequence in list(self.queue.waiting):
            if not left.chunk or not left.looks:
                return
            yield sequence

    def _release(self, sequence: Sequence) -> None:
        """Return to the index the pages that a sequence took over, if it does not run."""
        if not sequence.running:
            sequence.table.drop()

    def _short(self) -> dict[Sequence, int]:
        """Return the short prompts, each with the rows that it needs besides the index's.

        The search stops at enough of them to fill a step.
        """
        found: dict[Sequence, int] = {}
        looks, rows = LOOKAHEAD, self.chunk
        for sequence in chain(filter(_is_prefill, self.queue.running), islice(self.queue.waiting, FORESEEN)):
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
        """Reserve pages for so many positions more; return false if the sequence must wait."""
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
            self.queue.start(sequence)
        return True

    def make_room(self, table: PageTable, positions: int, sequence: Sequence | None = None) -> bool:
        """Reserve positions, if need be by evicting idle pages and preempting paused, then younger sequences."""
        victims = self._victims(sequence)
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
        """Reserve positions of a sequence if pages are free; return true if so."""
        try:
            if sequence.table.missing(positions) <= self.index.pool.free:
                sequence.table.reserve(positions)
                return True
        except OutOfPagesError:  # the machine has less than the cap
            pass
        return False

    def _worth_starting(self, sequence: Sequence) -> bool:
        """Return true if a waiting sequence is likely to stay: its text and what it and the running will write fit."""
        running = (s for s in reversed(self.queue.running) if not s.request.paused)
        youngest = next(running, None)
        if youngest is None or youngest.order > sequence.order:
            return True
        if self._promised is None:
            self._promised = self._growth(youngest) + sum(map(self._growth, running))
        return self._promised + self._growth(sequence) <= self.index.pool.free + self.index.idle

    def _growth(self, sequence: Sequence) -> int:
        """Return the pages that a sequence is expected to take: for tokens to compute, and half of those to draw."""
        written = min(FORESIGHT, -(-sequence.left // (2 * self.index.pool.page_size)))
        return sequence.table.missing(sequence.remaining) + written

    def _victims(self, sequence: Sequence | None) -> Iterator[Sequence]:
        """Yield sequences to preempt: the paused, then the younger ones."""
        running = self.queue.running[::-1]
        for paused in (True, False):
            for s in running:
                if not paused and sequence is not None and s.order <= sequence.order:
                    return  # orders differ; the sequence itself is skipped below
                if s.request.paused == paused and s is not sequence:
                    yield s


@dataclass
class _Left:
    """The remains of a plan's budget: rows, rows for prompts, and looks at sequences that wait for another's page."""

    rows: int
    chunk: int
    looks: int = LOOKAHEAD


def _is_prefill(sequence: Sequence) -> bool:
    """Return true if a sequence has a prompt to compute, or a text that was preempted."""
    return sequence.remaining > 1 or not sequence.output
