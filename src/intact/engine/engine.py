"""Shared steps: prompts are prefilled in chunks, samples fork from them, and all that decode share each step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.cache import PagePool, PageTable
from intact.errors import ParameterError
from intact.executors.base import Chunk, Executor
from intact.numerics.sampling import Draw, Sampling

DEFAULT_CHUNK = 256
DEFAULT_ROWS = 512
SCORED_ROWS = 64  # rows of logits that are held at once when a text is scored


class Event(NamedTuple):
    """A token that a branch drew. `sequence` is an index into the branches in order of submission."""

    sequence: int
    token: int
    logprob: int
    position: int


@dataclass
class _Prompt:
    tokens: NDArray[np.int32]
    branches: list[_Branch]
    table: PageTable
    done: int = 0


@dataclass
class _Branch:
    index: int
    sampling: Sampling
    key: int
    limit: int
    table: PageTable | None = None
    last: int = 0
    drawn: int = 0
    active: bool = field(default=True)


class Engine:
    """Runs prompts and the branches that sample from them, on pages that it may share with others. Not thread-safe.

    The tokens do not depend on what shares a step, nor on `chunk` and `rows`.

    Parameters
    ----------
    context : int
        The most positions of a sequence.
    chunk : int
        The most tokens of prompts that one step prefills.
    rows : int
        The most rows of a step.
    """

    def __init__(
        self, executor: Executor, pool: PagePool, context: int, chunk: int = DEFAULT_CHUNK, rows: int = DEFAULT_ROWS
    ) -> None:
        self.executor, self.pool, self.context = executor, pool, context
        self.chunk, self.rows = min(chunk, rows), rows
        self._waiting: deque[_Prompt] = deque()
        self._decoding: deque[_Branch] = deque()
        self._branches: list[_Branch] = []
        self._tables: list[PageTable] = []  # of prompts, so that none is lost if a step is interrupted

    def submit(
        self, tokens: Sequence[int], sampling: Sampling, keys: Sequence[int], max_tokens: int, vocabulary: int
    ) -> list[int]:
        """Queue a prompt with one branch a key; the numbers of the branches.

        Raises
        ------
        ParameterError
            If the prompt is empty, fills the context, or has a token outside the vocabulary.
        """
        if not tokens:
            raise ParameterError("the prompt is empty: a model needs at least one token to continue from")
        if len(tokens) >= self.context:
            raise ParameterError(
                f"the prompt has {len(tokens)} tokens; the context of {self.context} leaves room for none after it"
            )
        if (worst := max(tokens)) >= vocabulary or min(tokens) < 0:
            raise ParameterError(
                f"a prompt's token must lie in [0, {vocabulary}), got {worst if worst >= vocabulary else min(tokens)}"
            )
        first = len(self._branches)
        limit = min(max_tokens, self.context - len(tokens))
        branches = [_Branch(first + i, sampling, key, limit) for i, key in enumerate(keys)]
        self._branches += branches
        self._tables.append(PageTable(self.pool))
        self._waiting.append(_Prompt(np.array(tokens, np.int32), branches, self._tables[-1]))
        return [branch.index for branch in branches]

    def finish(self, index: int) -> None:
        """End a branch: it draws no more, and its pages are given back."""
        branch = self._branches[index]
        if branch.active:
            branch.active = False
            if branch.table is not None:
                branch.table.drop()

    def close(self) -> None:
        """End all branches and forget what is queued."""
        for branch in self._branches:
            self.finish(branch.index)
        for table in self._tables:
            table.drop()
        self._tables.clear()
        self._waiting.clear()
        self._decoding.clear()
        self._branches.clear()

    def run(self) -> Iterator[Event]:
        """Yield tokens as they are drawn until all branches have ended."""
        while self._waiting or self._decoding:
            yield from self._step()

    def _step(self) -> list[Event]:
        chunks: list[Chunk] = []
        drawing: list[tuple[int, list[_Branch], _Prompt | None]] = []  # row, who draws from it, whose prompt it ends
        rows = 0
        for _ in range(len(self._decoding)):
            if rows == self.rows:
                break
            branch = self._decoding.popleft()
            if not branch.active or branch.table is None:
                continue
            position = branch.table.length
            chunks.append(Chunk(position, np.array([branch.last], np.int32), branch.table.extend(1)))
            drawing.append((rows, [branch], None))
            rows += 1
        room = min(self.chunk, self.rows - rows)
        while self._waiting and room:
            prompt = self._waiting[0]
            prompt.branches = [branch for branch in prompt.branches if branch.active]
            if not prompt.branches:
                self._waiting.popleft().table.drop()
                continue
            part = prompt.tokens[prompt.done : prompt.done + room]
            chunks.append(Chunk(prompt.done, part, prompt.table.extend(len(part))))
            prompt.done += len(part)
            rows, room = rows + len(part), room - len(part)
            if prompt.done == len(prompt.tokens):
                self._waiting.popleft()
                drawing.append((rows - 1, prompt.branches, prompt))
        if not chunks:
            return []
        logits = self.executor.step(chunks, np.array([row for row, _, _ in drawing], np.int64))
        return self._draw(logits, drawing)

    def _draw(self, logits: NDArray[np.int32], drawing: list[tuple[int, list[_Branch], _Prompt | None]]) -> list[Event]:
        branches: list[_Branch] = []
        index: list[int] = []
        for i, (_, group, prompt) in enumerate(drawing):
            for branch in group:
                if prompt is not None:
                    branch.table = prompt.table.fork()
                branches.append(branch)
                index.append(i)
            if prompt is not None:
                prompt.table.drop()
        if not branches:
            return []
        positions = np.array([branch.table.length for branch in branches if branch.table], np.int64)
        tokens, logprobs = self.executor.draw(
            logits,
            [
                Draw(row, branch.sampling, branch.key, position)
                for row, branch, position in zip(index, branches, positions.tolist(), strict=True)
            ],
        )
        events = []
        for branch, token, logprob, position in zip(
            branches, tokens.tolist(), logprobs.tolist(), positions.tolist(), strict=True
        ):
            branch.last = token
            branch.drawn += 1
            events.append(Event(branch.index, token, logprob, position))
            if branch.drawn == branch.limit:
                self.finish(branch.index)
            else:
                self._decoding.append(branch)
        return events

    def prefill(
        self, tokens: Sequence[int], rows: int | None = None
    ) -> Iterator[tuple[list[Chunk], NDArray[np.int64]]]:
        """The steps that run a text through the model; its pages are free again afterwards. All rows are wanted."""
        table, size = PageTable(self.pool), min(self.chunk, rows or self.chunk)
        array = np.array(tokens, np.int32)
        try:
            for start in range(0, len(array), size):
                part = array[start : start + size]
                yield [Chunk(start, part, table.extend(len(part)))], np.arange(len(part))
        finally:
            table.drop()
