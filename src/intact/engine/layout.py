"""The layout of a step: the chunks that each model runs, and the rows whose logits are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import Tree
from intact.engine.encoding import EncodeRun
from intact.engine.replay import ReplayRun
from intact.engine.request import EncodeRequest, ReplayRequest, Request, ScoreRequest
from intact.engine.scoring import ScoreRun
from intact.engine.sequence import Sequence, SequenceRun, SequenceWork, Stream
from intact.executors.base import Executor
from intact.models.aspects.step import SequenceChunk


class ModelPart:
    """One model's part of a step: the chunks that it runs, and the rows whose logits are wanted.

    Attributes
    ----------
    rows : int
        Total number of rows.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._chunks: list[SequenceChunk] = []
        self.wanted: list[int] = []
        self.rows = 0

    def add(self, stream: Sequence | Stream, count: int, tree: Tree | None) -> int:
        """Add rows of a stream, followed by a tree; return the end of all rows so far."""
        table = stream.table
        if not count:
            return self.rows
        tokens, parents = stream.tokens(table.length, table.length + count), None
        if tree is not None:
            tokens = np.concatenate([tokens, tree.tokens])
            parents = None if tree.is_chain else np.concatenate([[-1], tree.parents + 1]).astype(np.int32)
        self._chunks.append(SequenceChunk(table.length, tokens, table.pages, parents, adapter=stream.adapter))
        self.rows += len(tokens)
        return self.rows

    def run(self) -> NDArray[np.int32]:
        """Run the chunks; return the logits of the wanted rows."""
        if not self._chunks:
            return np.zeros((0, 0), np.int32)
        return self._executor.step(self._chunks, np.array(self.wanted, np.int64))


def lay_out(
    works: Several[SequenceWork], executors: Several[Executor], trees: Mapping[Sequence, Tree], hidden: int
) -> tuple[list[SequenceRun], list[ModelPart]]:
    """Lay out a step: return its runs, and the part of each model.

    Parameters
    ----------
    trees : mapping
        Drafts to verify.
    hidden : int
        Number of rows at the end of a prompt whose hidden states a drafter reads.
    """
    runs: list[SequenceRun] = []
    parts = [ModelPart(executor) for executor in executors]
    for work in works:
        sequence, tree = work.sequence, trees.get(work.sequence)
        run = _kind(sequence.request, tree)(work, tree)
        for stream, count in zip(sequence.streams, work.shares, strict=True):
            part = parts[stream.model]
            end = part.add(stream, count, tree)
            if hidden and sequence.drafts_later:
                run.leading = run.count_leading(hidden)
                last = end - run.wanted_rows
                part.wanted += range(last - run.leading, last)
            run.firsts.append(len(part.wanted))
            part.wanted += run.wanted(end)
        runs.append(run)
    return runs, parts


def _kind(request: Request, tree: Tree | None) -> type[SequenceRun]:
    if isinstance(request, EncodeRequest):
        return EncodeRun
    if isinstance(request, ScoreRequest):
        return ScoreRun
    return ReplayRun if tree is not None and isinstance(request, ReplayRequest) else SequenceRun
