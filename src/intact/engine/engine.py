"""The engine's steps: plan, run, draw. Requests share them, but no token depends on which requests share a step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from collections.abc import Sequence as Tokens
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError, ParameterError
from intact.engine.cache import PagePool, PageTable, PrefixIndex
from intact.engine.draft.base import Observed, Tree
from intact.engine.drafting import Drafting
from intact.engine.emitter import Emitter
from intact.engine.layout import lay_out
from intact.engine.observers import LogitRows, observers
from intact.engine.page_store import Pages
from intact.engine.replay import known_chains
from intact.engine.request import (
    GenerateRequest,
    ReplayRequest,
    Request,
    no_room,
)
from intact.engine.scheduler import Counters, Scheduler, SequenceTooLargeError
from intact.engine.scoring import ScoreRun
from intact.engine.sequence import Sample, Sequence, SequenceRun, SequenceWork, work_of
from intact.executors.base import Executor
from intact.models.aspects.step import SequenceChunk

_LOG = logging.getLogger("intact")
DEFAULT_CHUNK = 256
DEFAULT_ROWS = 512


class Engine:
    """Runs requests in shared steps over one cache. Not thread-safe: `EngineDriver` (driver.py) guards it.

    The tokens of a request depend only on the request: not on the parameters below, and not on other requests, their
    order or priority.

    Parameters
    ----------
    context : int
        Maximum length of a sequence.
    chunk : int
        Maximum number of prompt tokens computed in one step.
    rows : int
        Maximum number of rows in a step.
    cache_bytes : int, optional
        Maximum size of all pages together, in bytes.
    prefix_cache : bool
        If true, pages outlive their sequences, to be reused by sequences that begin with the same tokens.
    drafting : Drafting, optional
        Speculative decoding.
    partners : sequence of Executor
        Other models for mixes; each gets an equal share of the cache.
    stores : sequence of Pages
        On-disk stores of prompt pages: the model's, then each partner's. Require a prefix cache. Empty by default.
    adapters : sequence of bytes
        Digest of each of the model's adapters; stores use them to keep the adapters' pages apart.
    whole : bool
        If true, the model is an encoder: it takes only `EncodeRequest`, and each input is computed in one step,
        whatever `chunk` and `rows` are. Its pages are not reused, since they depend on the whole input.

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
        self.scheduler = Scheduler(self.index, rows, chunk, self.counters, whole=whole)
        self.scheduler.indexes = indexes
        self.queue = self.scheduler.queue
        self.after: Callable[[], None] = lambda: None
        self._stepping = False
        self._reading = 0  # calls of `prefill` in progress
        self._cancelled: list[tuple[Request, Tokens[int] | None]] = []
        self._emitter = Emitter(self.scheduler, self.executors, bool(self.stores))
        self._observers = observers(drafting)

    @property
    def busy(self) -> bool:
        """True if a sequence is ready to run, or `prefill` is in progress."""
        return self._reading > 0 or any(not sequence.request.paused for sequence in self.queue)

    @property
    def held(self) -> int:
        """Number of pages held by sequences, over all models; all other pages are free, or idle in the index."""
        return sum(index.pool.used - index.idle for index in self.scheduler.indexes)

    def check(self, prompt: Tokens[int] | NDArray[np.int32]) -> None:
        """Raise if a prompt cannot run.

        Raises
        ------
        ParameterError
            If the prompt is empty or fills the context.
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
        """Queue a request that has passed `check`."""
        request.live = len(request.keys)
        self.scheduler.add(request)

    def fork(self, request: Request, sample: int, keys: Tokens[int]) -> list[int]:
        """Branch a live sample of a request into new samples with their own keys; return their numbers.

        Nothing is computed or copied until they draw different tokens.

        Raises
        ------
        ParameterError
            If the sample has ended, the request's tokens are known in advance, or a sink calls this during a step.
        """
        if self._stepping:
            raise ParameterError("a sink cannot fork a sample during a step")
        if not isinstance(request, GenerateRequest):
            raise ParameterError("a request whose tokens are known in advance cannot be forked")
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
        """Cancel the samples (by default all) that have not ended; pages that only they used are freed at once.

        If a sink calls this during a step, it takes effect at the end of the step.
        """
        if self._stepping:
            self._cancelled.append((request, samples))
            return
        ending = None if samples is None else set(samples)
        for sequence in self.queue.of(request):
            gone = [s for s in sequence.samples if ending is None or s.number in ending]
            if gone:
                self._emitter.end(sequence, gone, "cancelled")
        self.after()

    def preempt(self, request: Request | None = None) -> None:
        """Preempt all sequences, or those of one request: free their pages, to be recomputed with identical bits."""
        for sequence in list(self.queue.running):
            if request in (None, sequence.request):
                self.scheduler.preempt(sequence)

    def close(self, error: Exception | None = None) -> None:
        """End all requests, with an error if one is given, and release all pages."""
        for sequence in self.queue.known:
            self._emitter.end(sequence, list(sequence.samples), "cancelled" if error is None else "error", error)
        for index in self.scheduler.indexes:
            index.evict(index.idle)
        self.after()

    def step(self) -> int:
        """Run one step; return its number of rows, or 0 if nothing could run."""
        self._stepping = True
        try:
            return self._step()
        finally:
            self._stepping = False
            while self._cancelled:
                self.cancel(*self._cancelled.pop())
            self.after()
            self._emitter.save_prompts()

    def _step(self) -> int:
        works, draft = self._plan(), True
        while works:
            runs, parts = lay_out(works, self.executors, *self._guess(works, draft))
            try:
                observed = self._draw([part.run() for part in parts], runs)
            except Exception as error:  # errors must not end other sequences, nor a draft its own sequence
                for run in runs:
                    run.sequence.renew()
                if not any(run.tree for run in runs):
                    works = self._shrink(works, error) or self._plan()
                draft = False
                continue
            rows = sum(part.rows for part in parts)
            self._count(runs, rows)
            try:
                if self.drafting is not None:
                    self.drafting.report(runs, observed)
                    for run in runs:
                        if run.hidden:
                            run.keep_hidden(self.drafting.hidden)
                for run in runs:
                    self._emitter.take(run)
            except BaseException as error:  # on an interrupt it is unknown which sinks were called
                self.close(RuntimeError(f"a step was interrupted: {error!r:.100}"))
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
                self._emitter.end(sequence, list(sequence.samples), "error", self._too_small(length))
                continue
            refused = [
                (work.sequence, rules.refusal)
                for work in works
                if work.completes and (rules := work.sequence.rules) is not None and not rules.allow()
            ]
            for sequence, refusal in refused:
                self._emitter.end(sequence, list(sequence.samples), "error", refusal)
            if not refused:
                return works

    def _shrink(self, works: list[SequenceWork], error: Exception) -> list[SequenceWork]:
        """Return half the work of a step that failed, perhaps out of memory; end a sequence that fails by itself."""
        if len(works) > 1:
            return works[: len(works) // 2]
        sequence, count = works[0][:2]
        if count > 1 and not self.whole and (fewer := work_of(sequence, count // 2)).rows:
            return [fewer]
        self._emitter.end(sequence, list(sequence.samples), "error", error)
        return []

    def _guess(self, works: list[SequenceWork], draft: bool) -> tuple[dict[Sequence, Tree], int]:
        """Return the drafts to verify in this step, and the number of rows whose hidden states the drafter needs."""
        if self.drafting is None:
            trees, hidden = dict[Sequence, Tree](), 0
        else:
            trees, hidden = self.drafting.guess(works, self.scheduler, draft), self.drafting.hidden
        if draft and any(isinstance(work.sequence.request, ReplayRequest) for work in works):
            spare = self.scheduler.rows - sum(w.rows for w in works) - sum(len(tree.tokens) for tree in trees.values())
            trees |= known_chains(works, self.scheduler, spare)
        return trees, hidden

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
        """Draw for the runs that complete, without changing sequences: all executor calls that may fail come first."""
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
        for run in runs:
            if isinstance(run, ScoreRun):
                run.score(self.executor, logits)
        with_results = [run for run in runs if run.has_results]
        for observer in self._observers:
            if wanted := [run for run in (runs if observer.prompts else with_results) if observer.wanted(run)]:
                observer.read(LogitRows(self.executors, logits), wanted)
        return self.drafting.observe(self.executor, logits, drawing) if self.drafting is not None else None

    def save_pages(self, request: Request) -> None:
        """Save the full pages that a request's sequences have so far to the page store."""
        for sequence in self.queue.of(request):
            table = sequence.streams[0].table
            table.index.save(table.block)

    def _too_small(self, length: int) -> CapacityError:
        pool = self.pool
        count = -(-length // pool.page_size)
        capped = f"its limit allows {pool.most:,} pages of {pool.page_bytes:,} bytes: raise cache_bytes"
        if count <= pool.most:
            capped = (
                f"the machine has memory for {pool.capacity:,} pages of {pool.page_bytes:,} bytes: free some memory"
            )
        return CapacityError(
            f"a sequence of {length:,} tokens needs {count:,} pages of the KV cache; {capped}, or shorten the text"
        )

    def prefill(
        self, tokens: Tokens[int], rows: int | None = None, adapter: int = -1
    ) -> Generator[tuple[list[SequenceChunk], NDArray[np.int64]], None, None]:
        """Yield the steps that run tokens through the model, with all rows wanted; their pages are then freed.

        No other steps may run meanwhile: other sequences may lose their pages to this one, but not the other way round.

        Raises
        ------
        CapacityError
            If the cache cannot hold the sequence.
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
                table.length += len(part)  # not indexed, as the text is unlikely to come again
        finally:
            self._reading -= 1
            table.drop()
