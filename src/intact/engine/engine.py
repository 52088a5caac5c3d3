"""Steps: plan, run, draw. Prompts, samples and drafts share them; no token depends on what shares a step."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Tokens
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import PageTable, PrefixIndex
from intact.engine.draft import Controller, Draft, Drafter, Tree, accepted
from intact.engine.pages import OutOfPagesError, PagePool
from intact.engine.scheduler import Counters, Scheduler, SequenceTooLargeError, Work
from intact.engine.sequence import Event, Finish, Request, Sample, Sequence
from intact.errors import CapacityError, ParameterError
from intact.executors.base import Chunk, Executor
from intact.numerics.sampling import Draw

DEFAULT_CHUNK = 256
DEFAULT_ROWS = 512
SCORED_ROWS = 64  # rows of logits that are held at once when a text is scored
LEARNT_ROWS = 16  # of a step, for the drafter: with more, drafts are too dear to be worth the time


class _Run(NamedTuple):
    """Work as it stands in a step: with its drafts, and the first of its rows of logits."""

    sequence: Sequence
    rows: int
    tree: Tree | None
    first: int

    @property
    def completes(self) -> bool:
        """Whether its sequence draws (asked before the step's tokens are taken)."""
        return self.rows == self.sequence.remaining


Top = tuple[tuple[int, int], ...]
Drawn = tuple[int, int]
"""A token and its log-probability."""
Lesson = tuple[NDArray[np.int32], NDArray[np.int32]]
"""What a drafter learns from a step: tokens, and the likeliest to follow each."""


class _Outcome(NamedTuple):
    """What the runs that complete drew: each one's draws, those along the path that came true, the likeliest there."""

    drawing: list[_Run]
    drawn: list[list[Drawn]]
    paths: list[list[int]]
    tops: list[list[Top]]
    lesson: Lesson | None


class Engine:
    """Runs requests in shared steps, over one cache. Not thread-safe: `Driver` (driver.py) guards it.

    The tokens depend on a request alone, never on the parameters here, nor on other requests, their order or priority.

    Parameters
    ----------
    context, vocabulary : int
        The most positions of a sequence, and the tokens that a prompt may have.
    chunk : int
        The most tokens of prompts that one step computes.
    rows : int
        The most rows of a step.
    cache_bytes : int, optional
        The most bytes of all pages together.
    prefix_cache : bool
        Whether pages outlive their sequences, for others that begin with the same tokens.
    drafter : Drafter, optional
        Guesses at what sequences will draw, to be checked along.
    controller : Controller, optional
        Says how much is guessed.
    """

    def __init__(
        self,
        executor: Executor,
        context: int,
        vocabulary: int,
        *,
        chunk: int = DEFAULT_CHUNK,
        rows: int = DEFAULT_ROWS,
        cache_bytes: int | None = None,
        prefix_cache: bool = True,
        drafter: Drafter | None = None,
        controller: Controller | None = None,
    ) -> None:
        self.executor, self.context, self.vocabulary, self.drafter = executor, context, vocabulary, drafter
        self.pool = PagePool(executor, cache_bytes)
        self.index = PrefixIndex(self.pool, prefix_cache)
        self.counters = Counters()
        self.scheduler = Scheduler(self.index, rows, chunk, self.counters)
        self.controller = controller or Controller()
        self._stepping = False
        self._cancelled: list[tuple[Request, Tokens[int] | None]] = []

    @property
    def busy(self) -> bool:
        """Whether a sequence could take part in a step."""
        return any(not sequence.request.paused for sequence in self.scheduler.queue)

    @property
    def held(self) -> int:
        """Pages that sequences hold; the others are free, or idle in the index."""
        return self.pool.used - self.index.idle

    def check(self, prompt: Tokens[int] | NDArray[np.int32]) -> None:
        """Refuse a prompt that cannot run.

        Raises
        ------
        ParameterError
            If the prompt is empty, fills the context, or has a token outside the vocabulary.
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
        if (worst := max(prompt)) >= self.vocabulary or (worst := min(prompt)) < 0:
            raise ParameterError(f"a prompt's token must lie in [0, {self.vocabulary}), got {worst}")
        if -(-length // self.pool.page_size) > self.pool.capacity:
            raise self._too_small(length)

    def add(self, request: Request) -> None:
        """Queue a request, which `check` has passed."""
        request.live = len(request.keys)
        self.scheduler.add(request)

    def fork(self, request: Request, sample: int, keys: Tokens[int]) -> list[int]:
        """Branch a live sample of a request: new samples go on from its text with keys of their own; their numbers.

        Nothing is computed or copied until they draw different tokens.

        Raises
        ------
        ParameterError
            If the sample has ended, or a sink asks, whose step is not over.
        """
        if self._stepping:
            raise ParameterError("a sink cannot fork: its step is not over")
        sequence = self._find(request, sample)
        if sequence is None:
            raise ParameterError(f"sample {sample} has ended: it cannot be forked")
        first = len(request.keys)
        request.keys += keys
        request.live += len(keys)
        self.counters.forks += len(keys)
        sequence.samples += [Sample(first + i, key) for i, key in enumerate(keys)]
        return list(range(first, len(request.keys)))

    def cancel(self, request: Request, samples: Tokens[int] | None = None) -> None:
        """End samples (all, if none are named) that have not ended; pages that only they held are free at once.

        Asked for by a sink, in the midst of a step, it is done at the step's end.
        """
        if self._stepping:
            self._cancelled.append((request, samples))
            return
        ending = None if samples is None else set(samples)
        for sequence in [s for s in self.scheduler.queue if s.request is request]:
            gone = [s for s in sequence.samples if ending is None or s.number in ending]
            if gone:
                self._end(sequence, gone, "cancelled")

    def preempt(self, request: Request | None = None) -> None:
        """Take the pages of all sequences (of a request); they will be computed again, to the same bits."""
        for sequence in self.scheduler.queue:
            if sequence.table.held and request in (None, sequence.request):
                self.scheduler.preempt(sequence)

    def close(self, error: Exception | None = None) -> None:
        """End everything, by an error if one is given, and give all pages back."""
        for sequence in list(self.scheduler.queue):
            self._end(sequence, list(sequence.samples), "cancelled" if error is None else "error", error)
        self.index.evict(self.index.idle)

    def step(self) -> int:
        """Run one step; the rows it had, 0 if nothing could run."""
        self._stepping = True
        try:
            return self._step()
        finally:
            self._stepping = False
            while self._cancelled:
                self.cancel(*self._cancelled.pop())

    def _step(self) -> int:
        works, drafting = self._plan(), self.drafter is not None
        while works:
            runs, chunks, wanted = self._lay_out(works, drafting)
            try:
                outcome = self._draw(self.executor.step(chunks, wanted), runs)
            except Exception as error:  # what one sequence causes shall not end the others, nor a draft its own
                if not any(run.tree for run in runs):
                    works = self._shrink(works, error) or self._plan()
                drafting = False
                continue
            rows = sum(len(chunk.tokens) for chunk in chunks)
            self._count(runs, rows)
            try:
                self._take(runs, outcome)
            except BaseException as error:  # an interrupt: who has been told what is not known any more
                self.close(RuntimeError(f"a step was broken off: {error!r:.100}"))
                raise
            return rows
        return 0

    def _plan(self) -> list[Work]:
        while True:
            try:
                works = self.scheduler.plan()
            except SequenceTooLargeError as error:
                sequence = error.sequence
                self._end(sequence, list(sequence.samples), "error", self._too_small(sequence.length + 1))
                continue
            refused = [work.sequence for work in works if work.completes and not work.sequence.allow()]
            for sequence in refused:
                self._end(sequence, list(sequence.samples), "error", sequence.refusal)
            if not refused:
                return works

    def _shrink(self, works: list[Work], error: Exception) -> list[Work]:
        """Half the work of a step that failed, be it for want of memory; what cannot run even alone ends."""
        if len(works) > 1:
            return works[: len(works) // 2]
        (sequence, count), *_ = works
        if count > 1:
            return [Work(sequence, count // 2)]
        self._end(sequence, list(sequence.samples), "error", error)
        return []

    def _lay_out(self, works: list[Work], drafting: bool) -> tuple[list[_Run], list[Chunk], NDArray[np.int64]]:
        """The rows of a step."""
        runs: list[_Run] = []
        chunks: list[Chunk] = []
        wanted: list[int] = []
        row, trees = 0, self._guess(works, drafting)
        for sequence, count in works:
            table, tree = sequence.table, trees.get(sequence)
            tokens, parents = sequence.tokens(table.length, table.length + count), None
            if tree is not None:
                tokens = np.concatenate([tokens, tree.tokens])
                parents = None if _is_chain(tree) else np.concatenate([[-1], tree.parents + 1]).astype(np.int32)
            chunks.append(Chunk(table.length, tokens, table.pages, parents))
            runs.append(_Run(sequence, count, tree, len(wanted)))
            if count == sequence.remaining:
                wanted += range(row + count - 1, row + len(tokens))
            row += len(tokens)
        return runs, chunks, np.array(wanted, np.int64)

    def _guess(self, works: list[Work], drafting: bool) -> dict[Sequence, Tree]:
        """Drafts for sequences that decode, of what the budget and the free pages leave."""
        if self.drafter is None:
            return {}
        decoding = [sequence for sequence, _ in works if sequence.remaining == 1]
        others = sum(count for sequence, count in works if sequence.remaining > 1)
        open_new = self.controller.interested(len(decoding), others)
        drafts: list[Draft | None] = []
        for sequence in decoding:
            able = drafting and sequence.may_draft
            if able and open_new and sequence.draft is None:
                sequence.open_draft(self.drafter)
            drafts.append(sequence.draft if able else None)
        found: dict[Sequence, Tree] = {}
        spare = self.scheduler.rows - sum(work.rows for work in works)
        trees = self.controller.propose(drafts, [min(s.left - 1, spare) for s in decoding], others)
        for sequence, tree in zip(decoding, trees, strict=True):
            cut = tree.cut(spare) if tree is not None else None
            if cut is not None and self._reserve(sequence, 1 + len(cut.tokens)):
                found[sequence] = cut
                spare -= len(cut.tokens)
        return found

    def _reserve(self, sequence: Sequence, positions: int) -> bool:
        """Have room for drafts, if that costs nobody else anything."""
        try:
            if sequence.table.missing(positions) <= self.pool.free:
                sequence.table.reserve(positions)
                return True
        except OutOfPagesError:  # the machine has less than the cap
            pass
        return False

    def _count(self, runs: list[_Run], rows: int) -> None:
        c = self.counters
        c.steps += 1
        c.rows += rows
        c.largest_step = max(c.largest_step, rows)
        for run in runs:
            if run.sequence.remaining == 1:
                c.decoded += 1
                c.shared_draws += len(run.sequence.samples) - 1
            else:
                c.prefilled += run.rows
            if run.tree is not None:
                c.drafted += len(run.tree.tokens)

    def _draw(self, logits: NDArray[np.int32], runs: list[_Run]) -> _Outcome:
        """What a step brings, nothing of it taken yet: all that an executor may fail at."""
        drawing = [run for run in runs if run.completes]
        draws = [self._draws(run) for run in drawing]
        tokens, logprobs = self.executor.draw(logits, [draw for several in draws for draw in several])
        pairs = iter(zip(tokens.tolist(), logprobs.tolist(), strict=True))
        drawn = [[next(pairs) for _ in several] for several in draws]
        paths = [_path(run.tree, several) for run, several in zip(drawing, drawn, strict=True)]
        tops = self._tops(logits, drawing, paths)
        return _Outcome(drawing, drawn, paths, tops, self._lesson(logits, drawing, paths))

    def _take(self, runs: list[_Run], outcome: _Outcome) -> None:
        drawing, drawn, paths, tops, lesson = outcome
        if self.drafter is not None:
            decoded = [
                (run.tree, path) for run, path in zip(drawing, paths, strict=True) if run.sequence.remaining == 1
            ]
            self.controller.report(
                [tree for tree, _ in decoded], [[row - 1 for row in path[1:]] for _, path in decoded]
            )
        for run in runs:
            if not run.completes:
                run.sequence.table.advance(run.rows, run.sequence.text)
        for run, several, path, top in zip(drawing, drawn, paths, tops, strict=True):
            if run.tree is None:
                self._settle(run, several, top[0])
            else:
                self._accept(run.sequence, path, [several[node] for node in path], top)
        if self.drafter is not None and lesson is not None:
            self.drafter.learn(*lesson)

    def _draws(self, run: _Run) -> list[Draw]:
        sequence, sampling, position = run.sequence, run.sequence.request.sampling, run.sequence.length
        if run.tree is not None:
            key, depths = sequence.samples[0].key, [0, *_depths(run.tree)]
            return [Draw(run.first + node, sampling, key, position + depth) for node, depth in enumerate(depths)]
        edits = sequence.history.edits() if sequence.history is not None else None
        mask = sequence.matcher.mask() if sequence.matcher is not None else None
        return [Draw(run.first, sampling, sample.key, position, edits, mask) for sample in sequence.samples]

    def _tops(self, logits: NDArray[np.int32], runs: list[_Run], paths: list[list[int]]) -> list[list[Top]]:
        """The likeliest tokens along each path, where the request asked for them."""
        tops: list[list[Top]] = [[()] * len(path) for path in paths]
        asked = [i for i, run in enumerate(runs) if run.sequence.request.top]
        if not asked:
            return tops
        rows = np.array([runs[i].first + node for i in asked for node in paths[i]], np.int64)
        tokens, logprobs = self.executor.top(logits, rows, max(runs[i].sequence.request.top for i in asked))
        likeliest = iter(zip(tokens.tolist(), logprobs.tolist(), strict=True))
        for i in asked:
            count = runs[i].sequence.request.top
            tops[i] = [tuple(zip(*next(likeliest), strict=True))[:count] for _ in paths[i]]
        return tops

    def _lesson(self, logits: NDArray[np.int32], runs: list[_Run], paths: list[list[int]]) -> Lesson | None:
        """What the drafter may learn: the tokens that were verified, and what is likely to follow each."""
        learning = [(run, node) for run, path in zip(runs, paths, strict=True) if run.sequence.draft for node in path]
        drafter = self.drafter
        if drafter is None or not drafter.candidates or not self.controller.learning:
            return None
        if not 0 < len(learning) <= LEARNT_ROWS:
            return None
        rows = np.array([run.first + node for run, node in learning], np.int64)
        candidates = self.executor.likeliest(logits, rows, drafter.candidates)
        tokens = [int(run.tree.tokens[node - 1]) if run.tree and node else run.sequence.last for run, node in learning]
        return np.array(tokens, np.int32), candidates

    def _settle(self, run: _Run, drawn: list[Drawn], top: Top) -> None:
        """Take a step's draws: samples that drew the same token stay together."""
        sequence, groups, position = run.sequence, dict[int, list[Sample]](), run.sequence.length
        sequence.table.advance(run.rows, sequence.text)
        for sample, (token, logprob) in zip(sequence.samples, drawn, strict=True):
            if self._tell(sequence.request, sample, Event(sample.number, token, logprob, position, top)):
                groups.setdefault(token, []).append(sample)
        if not groups:
            self.scheduler.remove(sequence)
            return
        for fork in sequence.split(groups, self.scheduler.number):
            self.scheduler.insert(fork)

    def _accept(self, sequence: Sequence, path: list[int], drawn: list[Drawn], tops: list[Top]) -> None:
        """Take the draws along the path of drafts that came true."""
        table, (sample,) = sequence.table, sequence.samples
        told = 0
        for (token, logprob), top in zip(drawn, tops, strict=True):
            event = Event(sample.number, token, logprob, sequence.length + told, top)
            told += 1
            if not self._tell(sequence.request, sample, event):
                self.scheduler.remove(sequence)
                break
        else:
            slots = table.length + np.array(path, np.int32)
            targets = table.length + np.arange(len(path), dtype=np.int32)
            if (moved := slots != targets).any():
                self.executor.move(table.pages, slots[moved], targets[moved])
            sequence.extend([token for token, _ in drawn])
            table.advance(len(path), sequence.text)
        self.counters.accepted += told - 1

    def _tell(self, request: Request, sample: Sample, event: Event) -> bool:
        """Hand a token to the request; whether the sample goes on."""
        finish: Finish | None
        error: Exception | None = None
        try:
            if event.token < 0:
                raise ParameterError("no token is allowed here: the constraint and the biases rule out all")
            finish = request.sink(event)
        except Exception as raised:  # whoever reads fails alone
            finish, error = "error", raised
        if finish is None and event.position + 1 - len(request.prompt) >= request.limit:
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
        request.ended(sample.number, finish, error)

    def _find(self, request: Request, sample: int) -> Sequence | None:
        for sequence in self.scheduler.queue:
            if sequence.request is request and any(s.number == sample for s in sequence.samples):
                return sequence
        return None

    def _too_small(self, length: int) -> CapacityError:
        pool = self.pool
        return CapacityError(
            f"a sequence of {length:,} tokens needs {-(-length // pool.page_size):,} pages of the KV cache; its cap "
            f"allows {pool.capacity:,} of {pool.page_bytes:,} bytes each: raise cache_bytes, or shorten the text"
        )

    def prefill(self, tokens: Tokens[int], rows: int | None = None) -> Iterator[tuple[list[Chunk], NDArray[np.int64]]]:
        """The steps that run a text through the model; its pages are free again afterwards. All rows are wanted.

        Raises
        ------
        CapacityError
            If the cache cannot hold the text.
        """
        table, size = PageTable(self.index), min(self.scheduler.chunk, rows or self.scheduler.chunk)
        array = np.array(tokens, np.int32)
        try:
            for start in range(0, len(array), size):
                part = array[start : start + size]
                if not self.scheduler.make_room(table, len(part)):
                    raise self._too_small(len(array))
                yield [Chunk(start, part, table.pages)], np.arange(len(part))
                table.length += len(part)  # never indexed: a text that is scored is not asked for again
        finally:
            table.drop()


def _is_chain(tree: Tree) -> bool:
    return bool((tree.parents == np.arange(-1, len(tree.parents) - 1)).all())


def _depths(tree: Tree) -> list[int]:
    depths: list[int] = []
    for parent in tree.parents.tolist():
        depths.append(1 + (depths[parent] if parent >= 0 else 0))
    return depths


def _path(tree: Tree | None, drawn: list[Drawn]) -> list[int]:
    """Rows whose draws came true one after the other, from row 0, which the text's last token has."""
    return [0] if tree is None else [0, *(node + 1 for node in accepted(tree, [token for token, _ in drawn]))]
