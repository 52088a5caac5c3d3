"""The work that speed is measured by: a prompt, one stream, samples of one prompt, forks, a mixed load."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from intact.bench.passage import Passage
from intact.engine.sequence import Event, Request
from intact.numerics.sampling import branch_key, make_sampling

if TYPE_CHECKING:
    from intact.library import Model

clock = time.perf_counter


class Value(NamedTuple):
    """One figure of one run; `part` says which, if a workload has several."""

    part: str
    unit: str
    value: float


class Workload(Protocol):
    """Something to run and to time."""

    @property
    def group(self) -> str:
        """Its key in `GROUPS`."""

    @property
    def title(self) -> str:
        """The work in words."""

    @property
    def positions(self) -> int:
        """The most positions that one of its sequences takes."""

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """Do it once."""


@dataclass(frozen=True)
class Prompt:
    """A prompt until its first new token is known."""

    length: int
    group: str = "prompt"

    @property
    def title(self) -> str:
        """The work in words."""
        return f"prompt of {self.length}"

    @property
    def positions(self) -> int:
        """Prompt and one token."""
        return self.length + 1

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """Tokens of the prompt a second."""
        tokens = passage.piece(self.length)
        start = clock()
        model.generate(tokens, max_tokens=1)
        return [Value("", "tokens/s", len(tokens) / (clock() - start))]


@dataclass(frozen=True)
class Stream:
    """One greedy answer, from its first token to its last; the prompt is not counted."""

    length: int
    answer: int
    draft: bool = False
    group: str = "stream"

    @property
    def title(self) -> str:
        """The work in words."""
        return f"one stream of {self.answer}, greedy{', drafting' if self.draft else ''}"

    @property
    def positions(self) -> int:
        """Prompt and answer."""
        return self.length + self.answer

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """Tokens a second."""
        tokens = passage.piece(self.length)
        pieces = model.stream(tokens, max_tokens=self.answer, ignore_eos=True, draft=self.draft)
        stamps = [clock() for _ in pieces]
        return [Value("", "tokens/s", (len(stamps) - 1) / (stamps[-1] - stamps[0]))]


@dataclass(frozen=True)
class Samples:
    """Samples of one prompt at temperature 1 with their log-probabilities: new tokens over all the time it took."""

    count: int
    length: int
    answer: int
    group: str = "samples"

    @property
    def title(self) -> str:
        """The work in words."""
        return f"{self.count} x {self.answer} after a prompt of {self.length}"

    @property
    def positions(self) -> int:
        """Prompt and one answer."""
        return self.length + self.answer

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """New tokens a second, the prompt's time included."""
        tokens = passage.piece(self.length)
        start = clock()
        [completions] = model.generate(
            tokens, n=self.count, max_tokens=self.answer, temperature=1.0, logprobs=True, ignore_eos=True
        )
        seconds = clock() - start
        return [Value("", "tokens/s", sum(len(c.tokens) for c in completions) / seconds)]


@dataclass(frozen=True)
class Forks:
    """Branches forked off one sample after its prompt, one step in which they draw and part, and their end."""

    count: int
    length: int
    group: str = "forks"

    @property
    def title(self) -> str:
        """The work in words."""
        return f"{self.count:,} forks of a prompt of {self.length}"

    @property
    def positions(self) -> int:
        """The prompt and two tokens."""
        return self.length + 2

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """Seconds to fork all, to let them draw once, and to drop all; bytes and pages that they hold."""
        engine, tokens = model.engine, passage.piece(self.length)
        held = engine.held
        stamps = self._stamps(model, tokens)
        tracemalloc.start()
        try:
            drawn = self._branch(model, tokens)
            before = tracemalloc.get_traced_memory()[0]
            branches = engine.fork(drawn, 0, _keys(self.count))
            engine.step()
            memory, pages = tracemalloc.get_traced_memory()[0] - before, engine.held - held
        finally:
            tracemalloc.stop()
        engine.cancel(drawn)
        return [
            Value("to fork", "s", stamps[1] - stamps[0]),
            Value("to draw and part", "s", stamps[2] - stamps[1]),
            Value("to drop", "s", stamps[3] - stamps[2]),
            Value("memory of one", "B", memory / len(branches)),
            Value("pages of all, prompt's included", "", pages),
        ]

    def _stamps(self, model: Model, tokens: list[int]) -> list[float]:
        engine, request, keys = model.engine, self._branch(model, tokens), _keys(self.count)
        stamps = [clock()]
        branches = engine.fork(request, 0, keys)
        stamps.append(clock())
        engine.step()
        stamps.append(clock())
        engine.cancel(request, branches)
        stamps.append(clock())
        engine.cancel(request)
        return stamps

    def _branch(self, model: Model, tokens: list[int]) -> Request:
        """A request that has drawn its first token."""
        drawn: list[Event] = []
        request = _request(tokens, 8, drawn.append)
        model.engine.add(request)
        while not drawn:
            model.engine.step()
        return request


@dataclass(frozen=True)
class Mixed:
    """Requests of different lengths that arrive while others are under way.

    The next one arrives whenever the others have written `gap` more tokens (at once if all are done), so that the same
    steps run on every machine.
    """

    requests: int
    longest: int
    answer: int
    gap: int
    group: str = "mixed"

    @property
    def title(self) -> str:
        """The work in words."""
        return f"{self.requests} requests, one by one"

    @property
    def positions(self) -> int:
        """The longest prompt with the longest answer."""
        return self.longest + self.answer

    def lengths(self) -> Iterator[tuple[int, int]]:
        """Tokens of prompt and answer of each request: by turns, down to a sixteenth and an eighth of the longest."""
        for i in range(self.requests):
            yield self.longest >> (3 * i % 5), self.answer >> (i % 4)

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """New tokens a second; seconds to the first token and between two tokens of one request."""
        engine, stamps = model.engine, list[list[float]]()
        waiting = [(passage.piece(max(1, prompt)), max(1, answer)) for prompt, answer in self.lengths()]
        requests: list[Request] = []

        def arrive() -> None:
            times = [clock()]
            tokens, answer = waiting[len(stamps)]
            stamps.append(times)
            requests.append(_request(tokens, answer, lambda event: times.append(clock())))
            engine.add(requests[-1])

        start = clock()
        try:
            while len(stamps) < len(waiting) or engine.busy:
                written = sum(len(times) - 1 for times in stamps)
                while len(stamps) < len(waiting) and (written >= self.gap * len(stamps) or not engine.busy):
                    arrive()
                engine.step()
        finally:
            for request in requests:
                engine.cancel(request)
        seconds = clock() - start
        first = [times[1] - times[0] for times in stamps]
        between = [b - a for times in stamps for a, b in pairwise(times[1:])]
        return [
            Value("", "tokens/s", sum(len(times) - 1 for times in stamps) / seconds),
            *_percentiles("to the first token", first),
            *_percentiles("between tokens", between),
        ]


def _request(tokens: list[int], answer: int, told: Callable[[Event], object]) -> Request:
    """A sample at temperature 1, that only the count of its tokens ends."""

    def sink(event: Event) -> None:
        told(event)

    sampling = make_sampling(1.0, 0, 1.0, 0.0)
    return Request(np.array(tokens, np.int32), _keys(1), sampling, answer, sink, lambda *_: None)


def _keys(count: int) -> list[int]:
    return [branch_key(0, ("bench", i)) for i in range(count)]


def _percentiles(part: str, seconds: list[float]) -> list[Value]:
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return [Value(f"{part}, median", "s", statistics.median(ordered)), Value(f"{part}, 95%", "s", late)]


GROUPS: dict[str, tuple[Workload, ...]] = {
    "prompt": (Prompt(512),),
    "stream": (Stream(64, 64, draft=True), Stream(64, 64)),
    "samples": (Samples(8, 64, 32), Samples(64, 64, 32), Samples(8, 512, 128), Samples(64, 512, 128)),
    "forks": (Forks(1000, 512),),
    "mixed": (Mixed(16, 512, 128, 24),),
}
"""What `--only` may name."""
