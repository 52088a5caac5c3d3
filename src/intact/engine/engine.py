"""The engine's steps: plan, run, draw. Prompts, samples and drafts share them; no token depends on company."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from collections.abc import Sequence as Tokens
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import PagePool, PageTable, PrefixIndex
from intact.engine.draft.base import Tree
from intact.engine.draft.drafting import Drafting, Observation
from intact.engine.replay import ReplayRun, known_chains
from intact.engine.request import Event, Finish, GenerateRequest, ReplayRequest, Request, ScoreRequest
from intact.engine.scheduler import Counters, Scheduler, SequenceTooLargeError
from intact.engine.scoring import ScoreRun
from intact.engine.sequence import Sample, Sequence, SequenceRun, SequenceWork, work_of
from intact.errors import CapacityError, ParameterError
from intact.executors.base import Executor, SequenceChunk

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
    ) -> None:
        self.executor, self.context, self.drafting = executor, context, drafting
        self.pool = PagePool(executor, cache_bytes)
        self.index = PrefixIndex(self.pool, prefix_cache)
        self.counters = Counters()
        self.scheduler = Scheduler(self.index, rows, chunk, self.counters)
        self.queue = self.scheduler.queue
        self.after: Callable[[], None] = lambda: None
        self._stepping = False
        self._reading = 0  # texts that `prefill` runs through
        self._cancelled: list[tuple[Request, Tokens[int] | None]] = []

    @property
    def busy(self) -> bool:
        """True if a sequence could take part in a step, or a text is run through the model."""
        return self._reading > 0 or any(not sequence.request.paused for sequence in self.queue)

    @property
    def held(self) -> int:
        """Pages that sequences hold; the others are free, or idle in the index."""
        return self.pool.used - self.index.idle

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
        if length >= self.context:
            raise ParameterError(
                f"the prompt has {length} tokens; the context of {self.context} leaves room for none after it"
            )
        if -(-length // self.pool.page_size) > self.pool.most:
            raise self._too_small(length)

    def add(self, request: Request) -> None:
        """Queue a request, which `check` has passed."""
        request.live, request.end = len(request.keys), len(request.prompt) + request.limit
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
        for sequence in list(self.queue):
            self._end(sequence, list(sequence.samples), "cancelled" if error is None else "error", error)
        self.index.evict(self.index.idle)
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

    def _step(self) -> int:
        works, draft = self._plan(), True
        while works:
            runs, chunks, wanted = self._lay_out(works, draft)
            try:
                observation = self._draw(self.executor.step(chunks, wanted), runs)
            except Exception as error:  # an error of one sequence must not end the others, nor that of a draft its own
                for run in runs:
                    run.sequence.renew()
                if not any(run.tree for run in runs):
                    works = self._shrink(works, error) or self._plan()
                draft = False
                continue
            rows = sum(len(chunk.tokens) for chunk in chunks)
            self._count(runs, rows)
            try:
                self._take(runs, observation)
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
                self._end(sequence, list(sequence.samples), "error", self._too_small(sequence.length + 1))
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
        if count > 1:
            return [work_of(sequence, count // 2)]
        self._end(sequence, list(sequence.samples), "error", error)
        return []

    def _lay_out(
        self, works: list[SequenceWork], draft: bool
    ) -> tuple[list[SequenceRun], list[SequenceChunk], NDArray[np.int64]]:
        """Return the runs, chunks and wanted rows of a step."""
        runs: list[SequenceRun] = []
        chunks: list[SequenceChunk] = []
        wanted: list[int] = []
        row = 0
        trees = self.drafting.guess(works, self.scheduler, draft) if self.drafting is not None else {}
        if draft and any(isinstance(work.sequence.request, ReplayRequest) for work in works):
            spare = self.scheduler.rows - sum(w.rows for w in works) - sum(len(tree.tokens) for tree in trees.values())
            trees |= known_chains(works, self.scheduler, spare)
        for work in works:
            sequence, count = work.sequence, work.rows
            table, tree = sequence.table, trees.get(sequence)
            tokens, parents = sequence.tokens(table.length, table.length + count), None
            if tree is not None:
                tokens = np.concatenate([tokens, tree.tokens])
                parents = None if tree.is_chain else np.concatenate([[-1], tree.parents + 1]).astype(np.int32)
            chunks.append(SequenceChunk(table.length, tokens, table.pages, parents))
            runs.append(_kind(sequence.request, tree)(work, tree, len(wanted)))
            if isinstance(runs[-1], ScoreRun):
                wanted += range(row + count - len(runs[-1].given), row + count)
            elif work.completes:
                wanted += range(row + count - 1, row + len(tokens))
            row += len(tokens)
        return runs, chunks, np.array(wanted, np.int64)

    def _count(self, runs: list[SequenceRun], rows: int) -> None:
        c = self.counters
        c.steps += 1
        c.rows += rows
        c.largest_step = max(c.largest_step, rows)
        for run in runs:
            if run.decodes:
                c.decoded += 1
                c.shared_draws += len(run.sequence.samples) - 1
            else:
                c.prefilled += run.rows
            if run.tree is not None:
                c.drafted += len(run.tree.tokens)

    def _draw(self, logits: NDArray[np.int32], runs: list[SequenceRun]) -> Observation | None:
        """Draw for the runs that complete, without changing sequences yet: all that an executor may fail at."""
        drawing = walking = [run for run in runs if run.completes]
        while walking:
            draws = [run.draws() for run in walking]
            tokens, logprobs = self.executor.draw(logits, [draw for several in draws for draw in several])
            drawn = zip(tokens.tolist(), logprobs.tolist(), strict=True)
            walking = [
                run for run, several in zip(walking, draws, strict=True) if run.take(list(islice(drawn, len(several))))
            ]
        scoring = [run for run in runs if isinstance(run, ScoreRun)]
        for run in scoring:
            run.score(self.executor, logits)
        self._add_tops(logits, [*drawing, *scoring])
        self._add_heads([*drawing, *scoring])
        return self.drafting.observe(self.executor, logits, drawing) if self.drafting is not None else None

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
        rows = np.array([run.first + row for run in wanted for row in run.path], np.int64)
        inputs = iter(self.executor.head_inputs(rows))
        for run in wanted:
            run.heads = [next(inputs).tobytes() for _ in run.path]

    def _take(self, runs: list[SequenceRun], observation: Observation | None) -> None:
        if self.drafting is not None:
            self.drafting.report(runs, observation)
        for run in runs:
            if run.completes:
                self._settle(run)
                continue
            run.sequence.table.advance(run.rows, run.sequence.text)
            if isinstance(run, ScoreRun):
                self._settle_scored(run)

    def _settle(self, run: SequenceRun) -> None:
        """Append what a run drew: along its path the samples stay together, at its end they part by token."""
        sequence, followed = run.sequence, run.followed
        first = position = sequence.length
        if followed:
            self._follow(run)
        sequence.table.advance(run.rows + len(followed), sequence.text)
        groups: dict[int, list[Sample]] = {}
        ended: set[int] = set()
        for drawn, top, head in zip(run.drawn, run.tops, run.heads or [b""] * len(run.path), strict=True):
            groups.clear()
            for sample, (token, logprob) in zip(sequence.samples, drawn, strict=True):
                if sample.number in ended:
                    continue
                if self._emit(sequence.request, sample, Event(sample.number, token, logprob, position, top, head)):
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

    def _follow(self, run: SequenceRun) -> None:
        """Append the accepted drafts to the text."""
        sequence, table = run.sequence, run.sequence.table
        slots = table.length + np.array(run.path, np.int32)
        targets = table.length + np.arange(len(run.path), dtype=np.int32)
        if (moved := slots != targets).any():
            self.executor.move(table.pages, slots[moved], targets[moved])
        sequence.follow(run.followed, run.rules)

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
        self, tokens: Tokens[int], rows: int | None = None
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
                yield [SequenceChunk(start, part, table.pages)], np.arange(len(part))
                table.length += len(part)  # not indexed: the text is not expected again
        finally:
            self._reading -= 1
            table.drop()


def _kind(request: Request, tree: Tree | None) -> type[SequenceRun]:
    if isinstance(request, ScoreRequest):
        return ScoreRun
    return ReplayRun if tree is not None and isinstance(request, ReplayRequest) else SequenceRun
