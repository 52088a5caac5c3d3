"""The engine's steps: plan, run, draw. Prompts, samples and drafts share them; no token depends on company."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from collections.abc import Sequence as Tokens
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError, ParameterError
from intact.engine.cache import Block, PagePool, PageTable, PrefixIndex
from intact.engine.draft.base import Observed, Tree
from intact.engine.drafting import Drafting
from intact.engine.encoding import EncodeRun
from intact.engine.page_store import Pages
from intact.engine.replay import ReplayRun, known_chains
from intact.engine.request import (
    EncodeRequest,
    Event,
    Finish,
    GenerateRequest,
    ReplayRequest,
    Request,
    ScoreRequest,
    no_room,
)
from intact.engine.sampling.spread import Spread, spread_of
from intact.engine.scheduler import Counters, Scheduler, SequenceTooLargeError
from intact.engine.scoring import ScoreRun
from intact.engine.sequence import Sample, Sequence, SequenceRun, SequenceWork, Stream, work_of
from intact.executors.base import Executor
from intact.models.aspects.step import SequenceChunk
from intact.numerics.sampling import is_uncertain

_LOG = logging.getLogger("intact")
DEFAULT_CHUNK = 256
DEFAULT_ROWS = 512


class Engine:
    """Runs requests in shared steps, over one cache. Not thread-safe: `EngineDriver` (driver.py) guards it.

    The tokens depend on a request alone, never on the parameters here, nor on other requests, their order or priority.

    Parameters
    ----------
    context : int
        The most positions of a sequence.
    chunk : int
        The most tokens of prompts that one step computes.
    rows : int
        The most rows of a step.
    cache_bytes : int, optional
        The most bytes of all pages together.
    prefix_cache : bool
        If true, pages outlive their sequences, for others that begin with the same tokens.
    drafting : Drafting, optional
        Guesses at what sequences will draw, which are checked along.
    partners : sequence of Executor
        Other models, for mixes; each has an equal part of the cache.
    stores : sequence of Pages
        Where the pages of prompts are kept of the model, then of each partner; with a prefix cache only. None by
        default.
    adapters : sequence of bytes
        A digest of each of the model's adapters, by which stores tell their pages apart.
    whole : bool
        If true, the model is an encoder: it takes `EncodeRequest` alone, and each text is read in one step, whatever
        `chunk` and `rows` are; no pages outlive it, since they depend on the whole text.

    Attributes
    ----------
    after : callable
        Called after all sinks: at the end of each step, and when samples end between steps.
    """

    def __init__(
        self,
        executor: Executor,
        context: int,
        *,
        chunk: int = DEFAULT_CHUNK,
        rows: int = DEFAULT_ROWS,
        cache_bytes: int | None = None,
        prefix_cache: bool = True,
        drafting: Drafting | None = None,
        partners: Tokens[Executor] = (),
        stores: Tokens[Pages] = (),
        adapters: Tokens[bytes] = (),
        whole: bool = False,
    ) -> None:
        self.whole = whole
        self.executor, self.context, self.drafting, self.stores = executor, context, drafting, tuple(stores)
        share = None if cache_bytes is None else cache_bytes // (1 + len(partners))
        self.executors = [executor, *partners]
        kept = self.stores or [None] * len(self.executors)
        indexes = [
            PrefixIndex(
                PagePool(one, share), prefix_cache and not whole, store, () if one is not executor else adapters
            )
            for one, store in zip(self.executors, kept, strict=True)
        ]
        self.index, self.pool = indexes[0], indexes[0].pool
        self.counters = Counters()
        self.scheduler = Scheduler(self.index, rows, chunk, self.counters, whole)
        self.scheduler.indexes = indexes
        self.queue = self.scheduler.queue
        self.after: Callable[[], None] = lambda: None
        self._stepping = False
        self._reading = 0  # texts that `prefill` runs through
        self._cancelled: list[tuple[Request, Tokens[int] | None]] = []
        self._unsaved: list[tuple[PrefixIndex, Block]] = []  # ends of prompts that the last step completed, held

    @property
    def busy(self) -> bool:
        """True if a sequence could take part in a step, or a text is run through the model."""
        return self._reading > 0 or any(not sequence.request.paused for sequence in self.queue)

    @property
    def held(self) -> int:
        """Pages that sequences hold, of all models; the others are free, or idle in the index."""
        return sum(index.pool.used - index.idle for index in self.scheduler.indexes)

    def check(self, prompt: Tokens[int] | NDArray[np.int32]) -> None:
        """Raise if a prompt cannot run.

        Raises
        ------
        ParameterError
            If the prompt is empty, or fills the context.
        CapacityError
            If the cache cannot hold it.
        """
        length = len(prompt)
        if not length:
            raise ParameterError("the prompt is empty: a model needs at least one token to continue from")
        if self.whole and length > self.context:
            raise ParameterError(f"the text has {length} tokens; the encoder reads at most {self.context}")
        if not self.whole and length >= self.context:
            raise ParameterError(no_room(length, self.context))
        if -(-length // self.pool.page_size) > self.pool.most:
            raise self._too_small(length)

    def add(self, request: Request) -> None:
        """Queue a request, which `check` has passed."""
        request.live = len(request.keys)
        self.scheduler.add(request)

    def fork(self, request: Request, sample: int, keys: Tokens[int]) -> list[int]:
        """Branch a live sample of a request into new samples with keys of their own; return their numbers.

        Nothing is computed or copied until they draw different tokens.

        Raises
        ------
        ParameterError
            If the sample has ended, its tokens are known ahead, or a sink calls this: its step is not over.
        """
        if self._stepping:
            raise ParameterError("a sink cannot fork: its step is not over")
        if not isinstance(request, GenerateRequest):
            raise ParameterError("a request whose tokens are known ahead cannot be forked")
        sequences = {one.number: sequence for sequence in self.queue.of(request) for one in sequence.samples}
        if sample not in sequences:
            raise ParameterError(f"sample {sample} has ended: it cannot be forked")
        first = len(request.keys)
        request.keys += keys
        request.live += len(keys)
        self.counters.forks += len(keys)
        sequences[sample].samples += [Sample(first + i, key) for i, key in enumerate(keys)]
        return list(range(first, len(request.keys)))

    def cancel(self, request: Request, samples: Tokens[int] | None = None) -> None:
        """End samples (all, if none are named) that have not ended; pages that only they held are free at once.

        Called by a sink, in a step, it takes effect at the step's end.
        """
        if self._stepping:
            self._cancelled.append((request, samples))
            return
        ending = None if samples is None else set(samples)
        for sequence in self.queue.of(request):
            gone = [s for s in sequence.samples if ending is None or s.number in ending]
            if gone:
                self._end(sequence, gone, "cancelled")
        self.after()

    def preempt(self, request: Request | None = None) -> None:
        """Preempt all sequences (of a request): their pages are released, and computed again to the same bits."""
        for sequence in list(self.queue.running):
            if request in (None, sequence.request):
                self.scheduler.preempt(sequence)

    def close(self, error: Exception | None = None) -> None:
        """End everything, by an error if one is given, and release all pages."""
        for sequence in self.queue.known:
            self._end(sequence, list(sequence.samples), "cancelled" if error is None else "error", error)
        for index in self.scheduler.indexes:
            index.evict(index.idle)
        self.after()

    def step(self) -> int:
        """Run one step; return the rows it had, 0 if nothing could run."""
        self._stepping = True
        try:
            return self._step()
        finally:
            self._stepping = False
            while self._cancelled:
                self.cancel(*self._cancelled.pop())
            self.after()
            self._save_prompts()

    def _step(self) -> int:
        works, draft = self._plan(), True
        while works:
            runs, parts = self._lay_out(works, draft)
            try:
                observed = self._draw([part.run() for part in parts], runs)
            except Exception as error:  # an error of one sequence must not end the others, nor that of a draft its own
                for run in runs:
                    run.sequence.renew()
                if not any(run.tree for run in runs):
                    works = self._shrink(works, error) or self._plan()
                draft = False
                continue
            rows = sum(part.rows for part in parts)
            self._count(runs, rows)
            try:
                self._take(runs, observed)
            except BaseException as error:  # an interrupt: it is unknown which sinks were called
                self.close(RuntimeError(f"a step was broken off: {error!r:.100}"))
                raise
            return rows
        return 0

    def _plan(self) -> list[SequenceWork]:
        while True:
            try:
                works = self.scheduler.plan()
            except SequenceTooLargeError as error:
                sequence = error.sequence
                length = sum(stream.length + 1 for stream in sequence.streams)
                self._end(sequence, list(sequence.samples), "error", self._too_small(length))
                continue
            refused = [
                (work.sequence, rules.refusal)
                for work in works
                if work.completes and (rules := work.sequence.rules) is not None and not rules.allow()
            ]
            for sequence, refusal in refused:
                self._end(sequence, list(sequence.samples), "error", refusal)
            if not refused:
                return works

    def _shrink(self, works: list[SequenceWork], error: Exception) -> list[SequenceWork]:
        """Return half the work of a step that failed, perhaps for lack of memory; end what fails even alone."""
        if len(works) > 1:
            return works[: len(works) // 2]
        sequence, count = works[0][:2]
        if count > 1 and not self.whole and (fewer := work_of(sequence, count // 2)).rows:
            return [fewer]
        self._end(sequence, list(sequence.samples), "error", error)
        return []

    def _lay_out(self, works: list[SequenceWork], draft: bool) -> tuple[list[SequenceRun], list[_Part]]:
        """Return the runs of a step, and the part of it that each model has."""
        runs: list[SequenceRun] = []
        parts = [_Part(executor) for executor in self.executors]
        trees = self.drafting.guess(works, self.scheduler, draft) if self.drafting is not None else {}
        if draft and any(isinstance(work.sequence.request, ReplayRequest) for work in works):
            spare = self.scheduler.rows - sum(w.rows for w in works) - sum(len(tree.tokens) for tree in trees.values())
            trees |= known_chains(works, self.scheduler, spare)
        hidden = self.drafting.hidden if self.drafting is not None else 0
        for work in works:
            sequence, tree = work.sequence, trees.get(work.sequence)
            run = _kind(sequence.request, tree)(work, tree)
            for stream, count in zip(sequence.streams, work.shares, strict=True):
                part = parts[stream.model]
                end = part.add(stream, count, tree)
                if hidden and sequence.drafts_later:
                    run.leading = run.count_leading(hidden)
                    last = end - (len(tree.tokens) if tree is not None else 0) - run.completes
                    part.wanted += range(last - run.leading, last)
                run.firsts.append(len(part.wanted))
                if isinstance(run, EncodeRun):
                    part.wanted += run.wanted(end)
                elif isinstance(run, ScoreRun):
                    part.wanted += range(end - len(run.given), end)
                elif work.completes:
                    part.wanted += range(end - 1 - (len(tree.tokens) if tree is not None else 0), end)
            runs.append(run)
        return runs, parts

    def _count(self, runs: list[SequenceRun], rows: int) -> None:
        c = self.counters
        c.steps += 1
        c.rows += rows
        c.largest_step = max(c.largest_step, rows)
        c.saturated = self.executor.saturated
        for run in runs:
            if run.decodes:
                c.decoded += 1
                c.shared_draws += len(run.sequence.samples) - 1
            else:
                c.prefilled += run.rows
            if run.tree is not None:
                c.drafted += len(run.tree.tokens)

    def _draw(self, rows: list[NDArray[np.int32]], runs: list[SequenceRun]) -> Observed | None:
        """Draw for the runs that complete, without changing sequences yet: all that an executor may fail at."""
        drawing = walking = [run for run in runs if run.completes]
        logits = rows[0]
        while walking:
            draws = [run.draws() for run in walking]
            for run, several in zip(walking, draws, strict=True):
                run.mix(rows, several)
            tokens, logprobs = self.executor.draw(logits, [draw for several in draws for draw in several])
            drawn = zip(tokens.tolist(), logprobs.tolist(), strict=True)
            walking = [
                run for run, several in zip(walking, draws, strict=True) if run.take(list(islice(drawn, len(several))))
            ]
        scoring = [run for run in runs if isinstance(run, ScoreRun)]
        for run in scoring:
            run.score(self.executor, logits)
        self._judge(logits, drawing)
        self._add_tops(logits, [*drawing, *scoring])
        _add_spreads(logits, drawing)
        self._add_heads([*drawing, *scoring, *(run for run in runs if isinstance(run, EncodeRun))])
        self._add_hidden(runs)
        return self.drafting.observe(self.executor, logits, drawing) if self.drafting is not None else None

    def _judge(self, logits: NDArray[np.int32], runs: list[SequenceRun]) -> None:
        """Set where paths are uncertain, of requests that say what that is."""
        wanted = [run for run in runs if run.sequence.request.stop_below]
        if not wanted:
            return
        rows = [run.first + row for run in wanted for row in run.path]
        logprobs = self.executor.top(logits, np.array(rows, np.int64), 1)[1][:, 0].tolist()
        known = iter(zip(rows, logprobs, strict=True))
        for run in wanted:
            bound = run.sequence.request.stop_below
            run.uncertain = [is_uncertain(logits[row], bound, value) for row, value in islice(known, len(run.path))]

    def _add_tops(self, logits: NDArray[np.int32], runs: list[SequenceRun]) -> None:
        """Set the likeliest tokens along each path, where they are requested."""
        wanted = [run for run in runs if run.sequence.request.top]
        if not wanted:
            return
        rows = np.array([run.first + row for run in wanted for row in run.path], np.int64)
        tokens, logprobs = self.executor.top(logits, rows, max(run.sequence.request.top for run in wanted))
        likeliest = zip(tokens.tolist(), logprobs.tolist(), strict=True)
        for run in wanted:
            count = run.sequence.request.top
            run.tops = [tuple(zip(*next(likeliest), strict=True))[:count] for _ in run.path]

    def _add_heads(self, runs: list[SequenceRun]) -> None:
        """Set the inputs of the head along each path, where they are requested."""
        wanted = [run for run in runs if run.sequence.request.heads]
        if not wanted:
            return
        streams = [(run, *one) for run in wanted for one in zip(run.sequence.streams, run.firsts, strict=True)]
        inputs = []  # of each model
        for model, executor in enumerate(self.executors):
            rows = [first + row for run, stream, first in streams if stream.model == model for row in run.path]
            inputs.append(iter(executor.head_inputs(np.array(rows, np.int64)) if rows else ()))
        for run, stream, _ in streams:
            heads = run.heads or [b""] * len(run.path)
            run.heads = [head + next(inputs[stream.model]).tobytes() for head in heads]

    def _add_hidden(self, runs: list[SequenceRun]) -> None:
        """Set the hidden states that a drafter reads."""
        if self.drafting is None or not self.drafting.hidden:
            return
        found = [
            (run, [run.first + row for row in (*range(-run.leading, 0), *(run.path if run.completes else ()))])
            for run in runs
            if run.sequence.drafts_later
        ]
        rows = [row for _, several in found for row in several]
        if rows:
            inputs = iter(self.drafting.drafter.hidden_rows(self.executor, np.array(rows, np.int64)))
            for run, several in found:
                run.hidden = [row.tobytes() for row in islice(inputs, len(several))]

    def _take(self, runs: list[SequenceRun], observed: Observed | None) -> None:
        if self.drafting is not None:
            self.drafting.report(runs, observed)
        for run in runs:
            if run.hidden and self.drafting is not None:
                run.keep_hidden(self.drafting.hidden)
            if run.completes:
                self._settle(run)
                continue
            if isinstance(run, EncodeRun):
                self._settle_encoded(run)
                continue
            self._advance(run)
            if isinstance(run, ScoreRun):
                self._settle_scored(run)

    def _settle(self, run: SequenceRun) -> None:
        """Append what a run drew: along its path the samples stay together, at its end they part by token."""
        sequence, followed = run.sequence, run.followed
        first = position = sequence.length
        if followed:
            self._follow(run)
        self._advance(run, len(followed))
        if self.stores and first == len(sequence.request.prompt):
            self._note_prompts(sequence)
        groups: dict[int, list[Sample]] = {}
        ended: set[int] = set()
        heads, doubts = run.heads or [b""] * len(run.path), run.uncertain or [False] * len(run.path)
        spreads: Tokens[Spread | None] = run.spreads or [None] * len(run.path)
        for drawn, top, head, doubt, spread in zip(run.drawn, run.tops, heads, doubts, spreads, strict=True):
            groups.clear()
            for sample, (token, logprob) in zip(sequence.samples, drawn, strict=True):
                if sample.number in ended:
                    continue
                event = Event(sample.number, token, logprob, position, top, head, doubt, spread)
                if self._emit(sequence.request, sample, event):
                    groups.setdefault(token, []).append(sample)
                else:
                    ended.add(sample.number)
            if not groups:
                break
            position += 1
        self.counters.accepted += min(position - first, len(followed))
        if not groups:
            self.scheduler.remove(sequence)
            return
        for fork in sequence.split(groups, self.scheduler.number):
            self.queue.add(fork)

    def _note_prompts(self, sequence: Sequence) -> None:
        """Hold the pages of a sequence's prompts, to be saved once its first tokens have been handed out."""
        for stream in sequence.streams:
            index, block = stream.table.index, stream.table.block
            index.hold(block)
            self._unsaved.append((index, block))

    def save_pages(self, request: Request) -> None:
        """Give the store of pages the full ones that a request's texts have so far."""
        for sequence in self.queue.of(request):
            table = sequence.streams[0].table
            table.index.save(table.block)

    def _save_prompts(self) -> None:
        while self._unsaved:
            index, block = self._unsaved.pop()
            index.save(block)
            index.release(block)

    def _settle_scored(self, run: ScoreRun) -> None:
        """Report the tokens of a text that is scored; with the last it ends."""
        sequence = run.sequence
        (sample,) = sequence.samples
        for ((token, logprob),), top, head in zip(run.drawn, run.tops, run.heads or [b""] * len(run.path), strict=True):
            sequence.scored += 1
            event = Event(sample.number, token, logprob, sequence.scored, top, head)
            if not self._emit(sequence.request, sample, event):
                self.scheduler.remove(sequence)
                return

    def _settle_encoded(self, run: EncodeRun) -> None:
        """Report a text that an encoder has read, which ends it."""
        sequence = run.sequence
        (sample,) = sequence.samples
        self._emit(sequence.request, sample, Event(sample.number, 0, 0, sequence.length, (), b"".join(run.heads)))
        self.scheduler.remove(sequence)

    @staticmethod
    def _advance(run: SequenceRun, followed: int = 0) -> None:
        """Count the positions of a run as filled, and those of accepted drafts."""
        for stream, rows in zip(run.sequence.streams, run.shares, strict=True):
            if rows:
                stream.table.advance(rows + followed, stream.text)

    def _follow(self, run: SequenceRun) -> None:
        """Append the accepted drafts to the text."""
        path = np.array(run.path, np.int32)
        moved = path != np.arange(len(path), dtype=np.int32)
        if moved.any():
            for stream, rows in zip(run.sequence.streams, run.shares, strict=True):
                table = stream.table
                last = table.length + rows - 1
                sources, targets = last + path[moved], last + np.flatnonzero(moved)
                self.executors[stream.model].move(table.pages, sources, targets)
        run.sequence.follow(run.followed, run.rules)

    def _emit(self, request: Request, sample: Sample, event: Event) -> bool:
        """Hand a token to the request; return true if the sample goes on."""
        finish: Finish | None
        error: Exception | None = None
        try:
            if event.token < 0:
                assert request.rules is not None
                raise request.rules.dead_end(event.position - len(request.prompt))
            finish = request.sink(event)
        except Exception as raised:  # an error of a reader ends its sample alone
            finish, error = "error", raised
        if finish is None and event.position + 1 >= request.end:
            finish = request.at_limit
        if finish is not None:
            self._ended(request, sample, finish, error)
        return finish is None

    def _end(self, sequence: Sequence, samples: list[Sample], finish: Finish, error: Exception | None = None) -> None:
        gone = {sample.number for sample in samples}
        sequence.samples = [sample for sample in sequence.samples if sample.number not in gone]
        if not sequence.samples:
            self.scheduler.remove(sequence)
        for sample in samples:
            self._ended(sequence.request, sample, finish, error)

    def _ended(self, request: Request, sample: Sample, finish: Finish, error: Exception | None) -> None:
        request.live -= 1
        try:
            request.ended(sample.number, finish, error)
        except Exception:  # an error of a listener affects nothing else
            _LOG.exception("the callback for the end of sample %d failed", sample.number)

    def _too_small(self, length: int) -> CapacityError:
        pool = self.pool
        count = -(-length // pool.page_size)
        capped = f"its cap allows {pool.most:,} of {pool.page_bytes:,} bytes each: raise cache_bytes"
        if count <= pool.most:
            capped = f"the machine has memory for {pool.capacity:,} of {pool.page_bytes:,} bytes each: free some"
        return CapacityError(
            f"a sequence of {length:,} tokens needs {count:,} pages of the KV cache; {capped}, or shorten the text"
        )

    def prefill(
        self, tokens: Tokens[int], rows: int | None = None, adapter: int = -1
    ) -> Generator[tuple[list[SequenceChunk], NDArray[np.int64]], None, None]:
        """Yield the steps that run a text through the model, all rows wanted; its pages are free afterwards.

        No other steps may run meanwhile: other sequences can lose their pages to it, but it cannot lose its own.

        Raises
        ------
        CapacityError
            If the cache cannot hold the text.
        """
        table, size = PageTable(self.index), min(self.scheduler.chunk, rows or self.scheduler.chunk)
        array = np.array(tokens, np.int32)
        self._reading += 1
        try:
            for start in range(0, len(array), size):
                part = array[start : start + size]
                if not self.scheduler.make_room(table, len(part)):
                    raise self._too_small(len(array))
                yield [SequenceChunk(start, part, table.pages, adapter=adapter)], np.arange(len(part))
                table.length += len(part)  # not indexed: the text is not expected again
        finally:
            self._reading -= 1
            table.drop()


class _Part:
    """One model's part of a step: the chunks that it runs, and the rows whose logits are wanted.

    Attributes
    ----------
    rows : int
        The rows of all chunks.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._chunks: list[SequenceChunk] = []
        self.wanted: list[int] = []
        self.rows = 0

    def add(self, stream: Sequence | Stream, count: int, tree: Tree | None) -> int:
        """Add rows of a stream, and a tree behind them; return the end of all rows."""
        table = stream.table
        if not count:
            return self.rows
        tokens, parents = stream.tokens(table.length, table.length + count), None
        if tree is not None:
            tokens = np.concatenate([tokens, tree.tokens])
            parents = None if tree.is_chain else np.concatenate([[-1], tree.parents + 1]).astype(np.int32)
        self._chunks.append(SequenceChunk(table.length, tokens, table.pages, parents, stream.adapter))
        self.rows += len(tokens)
        return self.rows

    def run(self) -> NDArray[np.int32]:
        """Run the chunks; return the logits of the wanted rows."""
        if not self._chunks:
            return np.zeros((0, 0), np.int32)
        return self._executor.step(self._chunks, np.array(self.wanted, np.int64))


def _add_spreads(logits: NDArray[np.int32], runs: list[SequenceRun]) -> None:
    """Set the spreads of the distributions along each path, where they are requested."""
    for run in runs:
        if run.sequence.request.spread:
            run.spreads = [spread_of(logits[run.first + row]) for row in run.path]


def _kind(request: Request, tree: Tree | None) -> type[SequenceRun]:
    if isinstance(request, EncodeRequest):
        return EncodeRun
    if isinstance(request, ScoreRequest):
        return ScoreRun
    return ReplayRun if tree is not None and isinstance(request, ReplayRequest) else SequenceRun
