"""The end of a step: appends drawn tokens to sequences and passes them to requests; samples may end or diverge."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Several
from typing import Any, Final

import numpy as np

from intact.engine.cache import Block, PrefixIndex
from intact.engine.encoding import EncodeRun
from intact.engine.request import Event, Finish, Request
from intact.engine.scheduler import Scheduler
from intact.engine.scoring import ScoreRun
from intact.engine.sequence import Sample, Sequence, SequenceRun
from intact.executors.base import Executor

_LOG = logging.getLogger("intact")
_NOTHING: Final[dict[str, Any]] = {}


class Emitter:
    """Applies the draws of runs to their sequences, and notifies the requests.

    Parameters
    ----------
    executors : sequence of Executor
        Executors of all models, the main one first.
    stores : bool
        If true, prompt pages are kept in stores; `save_prompts` saves those of the last step.
    """

    def __init__(self, scheduler: Scheduler, executors: Several[Executor], stores: bool) -> None:
        self._scheduler, self._executors, self._stores = scheduler, executors, stores
        self._unsaved: list[tuple[PrefixIndex, Block]] = []  # last pages of prompts that the last step completed, held

    def take(self, run: SequenceRun) -> None:
        """Apply a run: the tokens it drew or scored, or the text it encoded, and the positions it filled."""
        if run.completes:
            self._settle(run)
        elif isinstance(run, EncodeRun):
            self._settle_encoded(run)
        else:
            _advance(run)
            if isinstance(run, ScoreRun):
                self._settle_scored(run)

    def _settle(self, run: SequenceRun) -> None:
        """Append a run's tokens: samples stay together along its path, and diverge at its end by their tokens."""
        sequence, followed = run.sequence, run.followed
        first = position = sequence.length
        if followed:
            self._follow(run)
        _advance(run, len(followed))
        if self._stores and first == len(sequence.request.prompt):
            self._note_prompts(sequence)
        groups: dict[int, list[Sample]] = {}
        ended: set[int] = set()
        for place, drawn in enumerate(run.drawn):
            groups.clear()
            notes = run.notes_at(place) if run.notes else _NOTHING
            for sample, (token, logprob) in zip(sequence.samples, drawn, strict=True):
                if sample.number in ended:
                    continue
                event = Event(sample=sample.number, token=token, logprob=logprob, position=position, **notes)
                if self._emit(sequence.request, sample, event):
                    groups.setdefault(token, []).append(sample)
                else:
                    ended.add(sample.number)
            if not groups:
                break
            position += 1
        self._scheduler.counters.accepted += min(position - first, len(followed))
        if not groups:
            self._scheduler.remove(sequence)
            return
        for fork in sequence.split(groups, self._scheduler.number):
            self._scheduler.queue.add(fork)

    def _settle_scored(self, run: ScoreRun) -> None:
        """Report the newly scored tokens of a sequence, which ends with the last one."""
        sequence = run.sequence
        (sample,) = sequence.samples
        for place, ((token, logprob),) in enumerate(run.drawn):
            sequence.scored += 1
            notes = run.notes_at(place) if run.notes else _NOTHING
            event = Event(sample=sample.number, token=token, logprob=logprob, position=sequence.scored, **notes)
            if not self._emit(sequence.request, sample, event):
                self._scheduler.remove(sequence)
                return

    def _settle_encoded(self, run: EncodeRun) -> None:
        """Report an encoded input, which ends its sequence."""
        sequence = run.sequence
        (sample,) = sequence.samples
        head = b"".join(run.notes.get("head", ()))
        event = Event(sample=sample.number, token=0, logprob=0, position=sequence.length, head=head)
        self._emit(sequence.request, sample, event)
        self._scheduler.remove(sequence)

    def _follow(self, run: SequenceRun) -> None:
        """Append the accepted drafts to the sequence."""
        path = np.array(run.path, np.int32)
        moved = path != np.arange(len(path), dtype=np.int32)
        if moved.any():
            for stream, rows in zip(run.sequence.streams, run.shares, strict=True):
                table = stream.table
                last = table.length + rows - 1
                sources, targets = last + path[moved], last + np.flatnonzero(moved)
                self._executors[stream.model].move(table.pages, sources, targets)
        run.sequence.follow(run.followed, run.rules)

    def _emit(self, request: Request, sample: Sample, event: Event) -> bool:
        """Pass a token to the request; return true if the sample continues."""
        finish: Finish | None
        error: Exception | None = None
        try:
            if event.token < 0:
                assert request.rules is not None
                raise request.rules.dead_end(event.position - len(request.prompt))
            finish = request.sink(event)
        except Exception as raised:  # an error in a sink ends only its sample
            finish, error = "error", raised
        if finish is None and event.position + 1 >= request.end:
            finish = request.at_limit
        if finish is not None:
            _report_end(request, sample, finish, error)
        return finish is None

    def end(self, sequence: Sequence, samples: Several[Sample], finish: Finish, error: Exception | None = None) -> None:
        """End samples of a sequence, all for the same reason."""
        gone = {sample.number for sample in samples}
        sequence.samples = [sample for sample in sequence.samples if sample.number not in gone]
        if not sequence.samples:
            self._scheduler.remove(sequence)
        for sample in samples:
            _report_end(sequence.request, sample, finish, error)

    def _note_prompts(self, sequence: Sequence) -> None:
        """Hold the pages of a sequence's prompts, to be saved after its first tokens have been emitted."""
        for stream in sequence.streams:
            index, block = stream.table.index, stream.table.block
            index.hold(block)
            self._unsaved.append((index, block))

    def save_prompts(self) -> None:
        """Save the pages of the prompts that the last step completed."""
        while self._unsaved:
            index, block = self._unsaved.pop()
            index.save(block)
            index.release(block)


def _advance(run: SequenceRun, followed: int = 0) -> None:
    """Mark the positions of a run as filled, including those of accepted drafts."""
    for stream, rows in zip(run.sequence.streams, run.shares, strict=True):
        if rows:
            stream.table.advance(rows + followed, stream.text)


def _report_end(request: Request, sample: Sample, finish: Finish, error: Exception | None) -> None:
    request.live -= 1
    try:
        request.ended(sample.number, finish, error)
    except Exception:  # an error in a listener must not affect anything else
        _LOG.exception("the callback for the end of sample %d failed", sample.number)
