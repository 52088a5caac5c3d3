"""The scheduler: picks the sequences of each step, oldest first, within the row budget and the cache's cap."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Positions
from dataclasses import dataclass, field, fields
from heapq import merge
from itertools import chain, count, islice

from intact.engine.cache import Block, OutOfPagesError, PageTable, PrefixIndex
from intact.engine.queue import RequestQueue, order
from intact.engine.request import Request
from intact.engine.sequence import Sample, Sequence, SequenceWork, Stream, work_of

FORESIGHT = 4  # pages kept free for the growth of each running sequence
PATIENCE = 256  # steps of waiting that one unit of priority is worth
LOOKAHEAD = 64  # long prompts per step that are looked up in the index, or found waiting for another's page
FORESEEN = 1024  # waiting sequences searched for short prompts
Claim = tuple[Block, bytes]
"""A page that a step computes, identified by its parent and its tokens."""


@dataclass
class Counters:
    """Counters of the scheduler and the engine, which show that a setting took effect."""

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
    saturated: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class SequenceTooLargeError(Exception):
    """A sequence does not fit in the cache even when it runs by itself."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence = sequence


class Scheduler:
    """Orders sequences and plans steps.

    Sequences are totally ordered: by the step at which they arrived, minus `PATIENCE` steps per unit of priority, then
    by number. A step serves them in that order, so a waiting sequence can only be overtaken by sequences that arrive
    within a bounded number of steps, and none starves. When pages run out, idle prefixes are evicted first (least
    recently used), then paused sequences are preempted, then the youngest, but never one older than the sequence that
    needs the pages.

    Half of the prompt rows are reserved for short prompts, which need no more than this half, so that they do not wait
    behind a long prompt that arrived first. Rows that short prompts do not need go to long ones, so steps stay full.
    The first sequence in the queue always gets at least the other half.

    Parameters
    ----------
    rows, chunk : int
        Maximum number of rows in a step, and maximum number of them that compute prompts or recompute preempted
        sequences.
    whole : bool
        If true, inputs are computed whole: a step takes as many as fit into its rows, or a single longer one.

    Attributes
    ----------
    kept : int
        Rows reserved for short prompts.
    indexes : list of PrefixIndex
        Cached pages of each model, the main one first.
    """

    def __init__(self, index: PrefixIndex, rows: int, chunk: int, counters: Counters, whole: bool = False) -> None:
        self.whole = whole
        self.index, self.rows, self.chunk, self.counters = index, rows, min(rows, chunk), counters
        self.indexes = [index]
        self.kept = self.chunk // 2
        self.queue = RequestQueue()
        self._number = count()
        self._promised: int | None = None  # pages that running sequences will need, once computed in this step

    def add(self, request: Request) -> Sequence:
        """Queue a request as one sequence shared by all its samples."""
        arrival = self.counters.steps - PATIENCE * request.priority
        samples = [Sample(i, key) for i, key in enumerate(request.keys)]
        table = PageTable(self.index, self.index.root_of(-1 if request.adapter is None else request.adapter))
        sequence = Sequence(request, samples, (arrival, self.number()), table)
        sequence.rules = request.rules and request.rules.fork()  # a copy, freed with the sequence
        given = request.mixing.streams if request.mixing is not None else ()
        sequence.others = tuple(Stream(sequence, one, PageTable(self.indexes[one.model])) for one in given)
        self.queue.add(sequence)
        return sequence

    def number(self) -> int:
        """Return the next sequence number, higher than all previous ones."""
        return next(self._number)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence; its pages are freed at once, or become idle in the index."""
        sequence.leave_ends()
        self.queue.remove(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """Preempt a running sequence: release its pages, to be recomputed later."""
        self.queue.stop(sequence)
        self.counters.preemptions += 1
        self._promised = None

    def plan(self) -> list[SequenceWork]:
        """Return the next step's work, with its pages reserved.

        Raises
        ------
        SequenceTooLargeError
            If the first sequence in the queue can never run.
        """
        if self.whole:
            return self._plan_whole()
        works: list[SequenceWork] = []
        left = _Left(self.rows, self.chunk)
        claimed: set[Claim] = set()
        short = self._short()
        reserved = sum(short.values())  # rows for short prompts later in the order
        self._promised = None
        for index in self.indexes:
            index.pool.retry()
        for sequence in merge(list(self.queue.running), self._waiting(left), key=order):
            if not left.rows:
                break
            prefill = _is_prefill(sequence)
            if sequence.request.paused or (prefill and not left.chunk):
                continue
            found, most = _Found(), left.rows
            if prefill:
                reserved -= (own := short.get(sequence, 0))
                most = min(left.rows, left.chunk if own else left.chunk - min(reserved, self.kept))
                if most <= 0:
                    continue
                found = self._find(sequence, claimed)
                if len(found.waiting) == len(sequence.streams):
                    self._release(sequence)
                    left.looks -= 1
                    continue
                if sequence.others and not _is_prefill(sequence):  # its prompts were cached
                    most = left.rows
            work = work_of(sequence, most, found.waiting)
            if not work.rows:  # too few rows for all streams
                self._release(sequence)
                continue
            if not self._admit(sequence, work.shares):
                self._release(sequence)
                if not works and all(s is sequence or s.request.paused for s in self.queue.running):
                    raise SequenceTooLargeError(sequence)
                break  # a younger sequence must not take the pages that an older one waits for
            works.append(work)
            left.rows -= work.rows
            if prefill:
                left.chunk = max(0, left.chunk - work.rows)
            claimed |= found.claims
            if found.gained:
                self.counters.cache_hits += 1
                self.counters.cached_tokens += found.gained
        return works

    def _plan_whole(self) -> list[SequenceWork]:
        """Plan a step of an encoder, which computes whole inputs; raises like `plan`."""
        works: list[SequenceWork] = []
        left, self._promised = self.rows, None
        self.index.pool.retry()
        for sequence in merge(list(self.queue.running), list(self.queue.waiting), key=order):
            if sequence.request.paused:
                continue
            work = work_of(sequence, left)
            if works and work.rows > left:
                break  # a younger sequence must not overtake it
            if not self._admit(sequence, work.shares):
                if not works and all(s is sequence or s.request.paused for s in self.queue.running):
                    raise SequenceTooLargeError(sequence)
                break
            works.append(work)
            left -= work.rows
        return works

    def _find(self, sequence: Sequence, claimed: set[Claim]) -> _Found:
        """Match a sequence's streams against the index, and find the streams whose next page is already being computed.

        Parameters
        ----------
        claimed : set
            Pages that this step already computes.
        """
        found = _Found()
        for number, stream in enumerate(sequence.streams):
            found.gained += stream.take_over()
            claim = self._claim(stream)
            if claim is not None and claim in claimed | found.claims:
                found.waiting.append(number)
                continue
            if claim is not None:
                found.claims.add(claim)
            found.gained += stream.take_over_end()
        return found

    def _waiting(self, left: _Left) -> Iterator[Sequence]:
        """Yield waiting sequences while rows for prompts remain."""
        for sequence in list(self.queue.waiting):
            if not left.chunk or not left.looks:
                return
            yield sequence

    def _release(self, sequence: Sequence) -> None:
        """Return to the index the pages that a sequence took over, unless it is running."""
        if not sequence.running:
            sequence.drop()

    def _short(self) -> dict[Sequence, int]:
        """Return the short prompts, each with the number of rows it needs beyond those in the index.

        The search stops once there are enough to fill a step.
        """
        found: dict[Sequence, int] = {}
        looks, rows = LOOKAHEAD, self.chunk
        for sequence in chain(filter(_is_prefill, self.queue.running), islice(self.queue.waiting, FORESEEN)):
            if rows <= 0:
                break
            if sequence.request.paused:
                continue
            needed = sequence.lacking
            if needed > self.kept and looks:
                looks -= 1
                needed -= sum(stream.table.known(stream.text, stream.skippable) for stream in sequence.streams)
            if needed <= self.kept:
                found[sequence] = needed
                rows -= needed
        return found

    def _claim(self, stream: Sequence | Stream) -> Claim | None:
        size = self.index.pool.page_size
        start = stream.table.depth * size
        if not self.index.keep or start + size > stream.skippable:
            return None  # the page could not be taken over
        return stream.table.block, stream.text(start, start + size)

    def _admit(self, sequence: Sequence, shares: Positions[int]) -> bool:
        """Reserve pages for the next `shares` positions of the streams; return false if the sequence must wait."""
        parts = [(stream.table, share) for stream, share in zip(sequence.streams, shares, strict=True)]
        if all(table.length + positions <= table.writable for table, positions in parts):
            return True
        if not sequence.running and not self._worth_starting(sequence):
            return False
        before = self._growth(sequence) if sequence.running else 0
        if not all(self.make_room(table, positions, sequence) for table, positions in parts):
            return False
        if self._promised is not None:
            self._promised += self._growth(sequence) - before
        if not sequence.running:
            self.queue.start(sequence)
        return True

    def make_room(self, table: PageTable, positions: int, sequence: Sequence | None = None) -> bool:
        """Reserve positions, if necessary by evicting idle pages and preempting paused, then younger sequences."""
        victims = self._victims(sequence)
        while True:
            if (lack := table.missing(positions) - table.index.pool.free) > 0:
                if table.index.evict(lack):
                    continue
                victim = next(victims, None)
                if victim is None:
                    return False
                self.preempt(victim)
                continue
            try:
                table.reserve(positions)
                return True
            except OutOfPagesError:  # the machine has less memory than the cap, which has been lowered
                continue

    def reserve_spare(self, sequence: Sequence, *positions: int) -> bool:
        """Reserve positions in each stream of a sequence if enough pages are free; return true on success."""
        try:
            for stream, count in zip(sequence.streams, positions, strict=True):
                if stream.table.missing(count) > stream.table.index.pool.free:
                    return False
                stream.table.reserve(count)
        except OutOfPagesError:  # the machine has less memory than the cap allows
            return False
        return True

    def _worth_starting(self, sequence: Sequence) -> bool:
        """Return true if a waiting sequence is likely to stay: it fits even after the running ones have grown."""
        running = (s for s in reversed(self.queue.running) if not s.request.paused)
        youngest = next(running, None)
        if youngest is None or youngest.order > sequence.order:
            return True
        if self._promised is None:
            self._promised = self._growth(youngest) + sum(map(self._growth, running))
        return self._promised + self._growth(sequence) <= self.index.pool.free + self.index.idle

    def _growth(self, sequence: Sequence) -> int:
        """Return the main-model pages that a sequence should need: for its tokens and half of those still to come."""
        written = min(FORESIGHT, -(-sequence.left // (2 * self.index.pool.page_size)))
        own = [stream for stream in sequence.streams if stream.model == 0]
        return sum(stream.table.missing(stream.remaining) + written for stream in own)

    def _victims(self, sequence: Sequence | None) -> Iterator[Sequence]:
        """Yield sequences to preempt: paused ones, then younger ones."""
        running = self.queue.running[::-1]
        for paused in (True, False):
            for s in running:
                if not paused and sequence is not None and s.order <= sequence.order:
                    return  # orders differ; the sequence itself is skipped below
                if s.request.paused == paused and s is not sequence:
                    yield s


@dataclass
class _Found:
    """The lookup result for a sequence: positions gained from the index, pages to compute, streams that must wait."""

    gained: int = 0
    claims: set[Claim] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)


@dataclass
class _Left:
    """The remaining budget of a plan: rows, prompt rows, and lookups of sequences that wait for another's page."""

    rows: int
    chunk: int
    looks: int = LOOKAHEAD


def _is_prefill(sequence: Sequence) -> bool:
    """Return true if a sequence has a prompt to compute, or tokens to recompute after preemption."""
    if sequence.others:
        return any(stream.remaining > 1 for stream in sequence.streams)
    return sequence.remaining > 1 or not sequence.output
