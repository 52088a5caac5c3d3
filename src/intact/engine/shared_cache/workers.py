"""Workers that write one solution into a shared cache, round by round (docs/spec/shared_cache.md).

In a round, each worker computes the tokens it has chosen but not yet read, and draws one more. It sees all of its own
tokens, and those tokens of other workers that were computed before the round, so a round's rows do not depend on each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from intact._base.errors import ParameterError
from intact.engine.request import no_room
from intact.engine.shared_cache.cache import Reading, Seen, SharedCache, TokenBlock
from intact.engine.shared_cache.request import Ending, SharedRequest, SharedText, WorkerStep
from intact.engine.shared_cache.rules import (
    DOUBT,
    GOES_ON,
    NAMES,
    OTHERS,
    OWN,
    PAST,
    heading,
    introduction,
    is_over,
)
from intact.numerics.sampling import Draw, Sampling
from intact.text.stream import Detokenizer

_GREEDY: Final = Sampling()


def write_together(
    cache: SharedCache,
    request: SharedRequest,
    cost: Callable[[int, int], int] = lambda start, count: count,
    stopped: Callable[[], bool] = lambda: False,
) -> SharedText:
    """Have workers write one text together.

    Parameters
    ----------
    cost : callable
        Returns the multiply-adds of a number of positions that start at a given one; by default 1 per position.
    stopped : callable
        Called before each round and each token of the conclusion; if it returns true, the text so far is returned.

    Raises
    ------
    ParameterError
        If the prompt leaves no room in the context.
    """
    return _Work(cache, request, cost).write(stopped)


@dataclass(eq=False)
class _Text:
    """A block and its text, with the tokens still to be read into it."""

    block: TokenBlock
    text: str = ""
    waiting: list[int] = field(default_factory=list)


@dataclass(eq=False)
class _Worker:
    """A worker: its finished steps, and the current one with the tokens drawn and the text written so far.

    Attributes
    ----------
    closing : _Text or None
        The previous step, whose last tokens are read together with the first ones of the current step.
    """

    number: int
    left: int
    current: _Text
    stream: Detokenizer
    finished: list[_Text] = field(default_factory=list)
    closing: _Text | None = None
    drawn: list[int] = field(default_factory=list)
    written: str = ""
    through: bool = False

    @property
    def count(self) -> int:
        """Number of the current step."""
        return len(self.finished) + 1

    @property
    def unread(self) -> list[_Text]:
        """The worker's texts that have tokens still to be read."""
        return [text for text in (self.closing, self.current) if text is not None and text.waiting]


class _Work:
    def __init__(self, cache: SharedCache, request: SharedRequest, cost: Callable[[int, int], int]) -> None:
        self._cache, self._request, self._cost = cache, request, cost
        self._tokenizer = cache.model.tokenizer
        self._read = self._operations = self._rounds = self._since = 0
        self._history: list[_Text] = []
        self._steps: list[WorkerStep] = []
        if len(request.prompt) >= cache.model.context:
            raise ParameterError(no_room(len(request.prompt), cache.model.context))
        self._prompt = self._label("", request.prompt, [])
        self._labels: dict[str, _Text] = {}
        for text in (PAST, OTHERS, GOES_ON, OWN):
            self._labels[text] = self._label(text, self._encode(text), [self._prompt, *self._labels.values()])
        self._workers = []
        for number in range(request.n):
            worker = _Worker(number, request.tokens, _Text(cache.block()), self._tokenizer.stream())
            self._add(worker.current, heading(NAMES[number], 1) + introduction(NAMES[number], leads=not number))
            self._workers.append(worker)

    def write(self, stopped: Callable[[], bool]) -> SharedText:
        """Run rounds until a step ends the work, or all workers are done."""
        while live := [worker for worker in self._workers if worker.left and not worker.through]:
            if stopped():
                return self._ended("time", self._text_of(live[0], live[0].current))
            winner = self._round(live)
            if winner is not None:
                return self._ended("answer", self._text_of(winner, winner.finished[-1]), by=winner.number)
        return self._conclude(stopped)

    def _round(self, live: Sequence[_Worker]) -> _Worker | None:
        """Let each worker compute its tokens and draw one; return the worker whose step ends the work, if any."""
        readings, drawing = list[Reading](), list[_Worker]()
        rows = list[int]()
        for worker in live:
            parts = [self._reading(worker, text) for text in worker.unread]
            worker.through = not self._fits(parts[-1])
            if not worker.through:
                readings += parts
                drawing.append(worker)
                rows.append(len(readings) - 1)
        if not drawing:
            return None
        self._rounds += 1
        for worker in drawing:
            for text in worker.unread:
                text.waiting = []
            worker.closing = None
        request = self._request
        draws = [
            Draw(row, request.sampling, request.key(worker.number), len(request.prompt) + request.tokens - worker.left)
            for worker, row in zip(drawing, rows, strict=True)
        ]
        tokens = self._step(readings, draws)
        ending = [worker for worker, token in zip(drawing, tokens, strict=True) if self._take(worker, token)]
        return ending[0] if ending else None

    def _take(self, worker: _Worker, token: int) -> bool:
        """Append a token to a worker's step; return true if it completes a step that ends the work."""
        request, step = self._request, worker.current
        worker.left, self._since = worker.left - 1, self._since + 1
        worker.drawn.append(token)
        closed = token in self._tokenizer.eos_ids
        if closed:
            worker.through = not worker.written.strip()
            if worker.through:
                return False
            text = request.delimiter
            self._add(step, text)
        else:
            text = worker.stream.push(token)
            step.text += text
            step.waiting.append(token)
        worker.written += text
        if not closed and not is_over(worker.written, request.delimiter, request.ends):
            return False
        self._steps.append(WorkerStep(worker.number, worker.count, self._rounds, tuple(worker.drawn)))
        self._history.append(step)
        worker.finished.append(step)
        if request.mark in worker.written:
            return True
        doubted = 0 < request.doubt < self._since
        self._since = 0 if doubted else self._since
        worker.closing, worker.current, worker.stream = step, _Text(self._cache.block()), self._tokenizer.stream()
        worker.drawn, worker.written = [], ""
        self._add(worker.current, heading(NAMES[worker.number], worker.count) + (DOUBT if doubted else ""))
        return False

    def _conclude(self, stopped: Callable[[], bool]) -> SharedText:
        """Request the answer after everything written so far."""
        ended: Ending = "finish"
        for worker in self._workers:
            for text in worker.unread:
                reading = self._reading(worker, text)
                if self._fits(reading):
                    self._step([reading], [])
                    text.waiting = []
        past, others, goes_on = (self._labels[name] for name in (PAST, OTHERS, GOES_ON))
        current = [text for worker in self._workers for text in (worker.current, goes_on)]
        view, end, tokens = [past, *self._history, others, *current], _Text(self._cache.block()), list[int]()
        self._add(end, self._request.finish)
        stream, before = self._tokenizer.stream(), self._before(view, [])
        while end.waiting and len(tokens) < self._request.conclude:
            reading = Reading(end.block, end.waiting, before)
            if not self._fits(reading):
                break
            if stopped():
                ended = "time"
                break
            (token,) = self._step([reading], [Draw(0, _GREEDY, 0, 0)])
            tokens.append(token)
            end.waiting = [] if token in self._tokenizer.eos_ids else [token]
            end.text += "" if token in self._tokenizer.eos_ids else stream.push(token)
        return self._ended(ended, "".join([text.text for text in (*view, end)]), conclusion=tokens)

    def _ended(self, ended: Ending, text: str, by: int | None = None, conclusion: Sequence[int] = ()) -> SharedText:
        unfinished = [
            WorkerStep(worker.number, worker.count, 0, tuple(worker.drawn))
            for worker in self._workers
            if worker.drawn and worker.current not in worker.finished
        ]
        steps = (*self._steps, *unfinished)
        return SharedText(
            text,
            steps,
            tuple(conclusion),
            self._rounds,
            by=by,
            ended=ended,
            read=self._read,
            operations=self._operations,
        )

    # Views

    def _view(self, own: _Worker, text: _Text) -> list[_Text]:
        """Return the texts between the prompt and a text of a worker."""
        past, others, goes_on, mine = (self._labels[name] for name in (PAST, OTHERS, GOES_ON, OWN))
        history = [one for one in self._history if one is not text]
        rest = [worker for worker in self._workers if worker is not own]
        if self._request.layout == "interleaved":
            return [past, *history]
        if self._request.layout == "contiguous":
            whole = [one for worker in rest for one in (*worker.finished, worker.current, goes_on)]
            return [others, *whole, mine, *[one for one in own.finished if one is not text]]
        current = [one for worker in rest for one in (worker.current, goes_on)]
        return [past, *history, others, *current, mine]

    def _before(self, view: Sequence[_Text], own: Sequence[_Text]) -> list[Seen]:
        """Return the part of each text visible in this round; for the worker's own, including what this round reads."""
        return [
            Seen(one.block, len(one.block) + (len(one.waiting) if one in own else 0)) for one in (self._prompt, *view)
        ]

    def _reading(self, worker: _Worker, text: _Text) -> Reading:
        return Reading(text.block, text.waiting, self._before(self._view(worker, text), worker.unread))

    def _text_of(self, worker: _Worker, text: _Text) -> str:
        """Return everything that a worker sees after the prompt, followed by one of its own texts."""
        return "".join([one.text for one in (*self._view(worker, text), text)])

    # Tokens

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, special=False, bos=False)

    def _add(self, text: _Text, more: str) -> None:
        """Append text that no worker drew."""
        tokens = self._encode(more)
        text.text += more
        text.waiting += tokens
        self._read += len(tokens)

    def _label(self, text: str, tokens: Sequence[int], before: Sequence[_Text]) -> _Text:
        """Create a text that is read only once, after others."""
        label = _Text(self._cache.block(), text)
        reading = Reading(label.block, tokens, [Seen(one.block, len(one.block)) for one in before])
        self._operations += self._cost(reading.start, len(tokens))
        self._read += len(tokens)
        self._cache.read(reading)
        return label

    def _fits(self, reading: Reading) -> bool:
        """Return true if the context has room for the reading's tokens and one more."""
        return reading.start + len(reading.tokens) < self._cache.model.context

    def _step(self, readings: Sequence[Reading], draws: Sequence[Draw]) -> list[int]:
        for reading in readings:
            self._operations += self._cost(reading.start, len(reading.tokens))
        return self._cache.draw(self._cache.step(readings), draws)
