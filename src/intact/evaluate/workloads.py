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

from intact.engine.sequence import Event, Request
from intact.errors import ModelError
from intact.evaluate.passage import Passage
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
    group: str = "stream"

    @property
    def title(self) -> str:
        """The work in words."""
        return f"one stream of {self.answer}, greedy"

    @property
    def positions(self) -> int:
        """Prompt and answer."""
        return self.length + self.answer

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """Tokens a second."""
        tokens = passage.piece(self.length)
        stamps = [clock() for _ in model.stream(tokens, max_tokens=self.answer)]
        if len(stamps) < 2:
            raise ModelError(f"{model.path}: the answer ended at once, so that nothing could be timed")
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
            tokens, n=self.count, max_tokens=self.answer, temperature=1.0, seed=self.count, logprobs=True
        )
        seconds = clock() - start
        return [Value("", "tokens/s", sum(len(c.tokens) for c in completions) / seconds)]


@dataclass(frozen=True)
class Forks:
    """Branches forked off one prompt, and dropped again."""

    count: int
    length: int
    group: str = "forks"

    @property
    def title(self) -> str:
        """The work in words."""
        return f"{self.count:,} forks of a prompt of {self.length}"

    @property
    def positions(self) -> int:
        """The prompt."""
        return self.length

    def run(self, model: Model, passage: Passage) -> list[Value]:
        """Seconds to fork all, to have them draw and part, and to drop all; bytes that they hold beside their pages."""
        engine, times = model.engine, []
        drawn: list[int] = []
        for traced in (False, True):
            request = _request(passage.piece(self.length), "forks", 64, lambda event: drawn.append(event.token))
            before = len(drawn)
            engine.add(request)
            while len(drawn) == before:
                engine.step()
            pages = engine.pool.used
            if traced:
                tracemalloc.start()
            keys = [branch_key(0, ("forks", i)) for i in range(self.count)]
            times.append(clock())
            engine.fork(request, 0, keys)
            times.append(clock())
            engine.step()
            times.append(clock())
            if traced:
                memory, more = tracemalloc.get_traced_memory()[0], engine.pool.used - pages
                tracemalloc.stop()
            engine.cancel(request)
            times.append(clock())
        return [
            Value("to fork", "s", times[1] - times[0]),
            Value("to draw and part", "s", times[2] - times[1]),
            Value("to drop", "s", times[3] - times[2]),
            Value("memory", "B", memory),
            Value("pages more", "", more),
        ]


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
        waiting = [(passage.piece(max(1, prompt)), max(1, answer)) for prompt, answer in self.lengths()]
        engine = model.engine
        stamps: list[list[float]] = []
        written = 0

        def arrive() -> None:
            (tokens, answer), times = waiting[len(stamps)], [clock()]
            stamps.append(times)

            def sink(_: Event) -> None:
                nonlocal written
                times.append(clock())
                written += 1

            engine.add(_request(tokens, str(len(stamps)), answer, sink))

        start = clock()
        try:
            while len(stamps) < len(waiting) or engine.busy:
                while len(stamps) < len(waiting) and (written >= self.gap * len(stamps) or not engine.busy):
                    arrive()
                engine.step()
        finally:
            engine.close()
        seconds = clock() - start
        first = [times[1] - times[0] for times in stamps]
        between = [b - a for times in stamps for a, b in pairwise(times[1:])]
        return [
            Value("", "tokens/s", written / seconds),
            *_percentiles("to the first token", first),
            *_percentiles("between tokens", between),
        ]


def _request(tokens: list[int], name: str, answer: int, sink: Callable[[Event], None]) -> Request:
    keys = [branch_key(0, (name, 0))]
    sampling = make_sampling(1.0)
    return Request(np.array(tokens, np.int32), keys, sampling, answer, lambda event: sink(event), lambda *_: None)


def _percentiles(part: str, seconds: list[float]) -> list[Value]:
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return [Value(f"{part}, median", "s", statistics.median(ordered)), Value(f"{part}, 95%", "s", late)]


GROUPS: dict[str, tuple[Workload, ...]] = {
    "prompt": (Prompt(512),),
    "stream": (Stream(64, 64),),
    "samples": (Samples(8, 64, 32), Samples(64, 64, 32), Samples(8, 512, 128), Samples(64, 512, 128)),
    "forks": (Forks(1000, 512),),
    "mixed": (Mixed(16, 512, 128, 24),),
}
"""What `--only` may name."""
