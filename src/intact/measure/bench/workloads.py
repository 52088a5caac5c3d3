"""The workloads of `intact bench`: a prompt, one stream, samples of one prompt, forks, and a mixed load."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from intact.engine.request import Event, GenerateRequest
from intact.measure.bench.passage import Passage
from intact.numerics.sampling import branch_key, make_sampling

if TYPE_CHECKING:
    from intact.library import Model

clock = time.perf_counter


class Metric(NamedTuple):
    """One value measured in one run; `part` names it if a workload measures several."""

    part: str
    unit: str
    value: float


@dataclass(frozen=True)
class Workload:
    """A workload to run and time.

    Attributes
    ----------
    group : str
        Its key in `GROUPS`.
    title : str
        A description of the work.
    positions : int
        Maximum number of positions in any of its sequences.
    run : callable
        Runs the workload once on a model, with prompts from a passage, and returns its metrics.
    """

    group: str
    title: str
    positions: int
    run: Callable[[Model, Passage], list[Metric]]


def prompt(length: int) -> Workload:
    """Measure prompt tokens per second, up to the first new token."""

    def run(model: Model, passage: Passage) -> list[Metric]:
        tokens = passage.piece(length)
        start = clock()
        model.generate(tokens, max_tokens=1)
        return [Metric("", "tokens/s", len(tokens) / (clock() - start))]

    return Workload("prompt", f"prompt of {length}", length + 1, run)


def stream(length: int, answer: int, draft: bool = False) -> Workload:
    """Measure tokens per second of one greedy answer, from its first token to its last, excluding the prompt."""

    def run(model: Model, passage: Passage) -> list[Metric]:
        chunks = model.stream(passage.piece(length), max_tokens=answer, ignore_eos=True, draft=draft)
        stamps = [clock() for _ in chunks]
        return [Metric("", "tokens/s", (len(stamps) - 1) / (stamps[-1] - stamps[0]))]

    title = f"one stream of {answer}, greedy{', drafting' if draft else ''}"
    return Workload("stream", title, length + answer, run)


def samples(count: int, length: int, answer: int) -> Workload:
    """Measure new tokens per second, prompt included, of samples at temperature 1 with their log-probabilities."""
    parameters = {"n": count, "max_tokens": answer, "temperature": 1.0, "logprobs": True, "ignore_eos": True}

    def run(model: Model, passage: Passage) -> list[Metric]:
        tokens = passage.piece(length)
        start = clock()
        [completions] = model.generate(tokens, **parameters)  # type: ignore[arg-type]
        seconds = clock() - start
        return [Metric("", "tokens/s", sum(len(c.tokens) for c in completions) / seconds)]

    return Workload("samples", f"{count} x {answer} after a prompt of {length}", length + answer, run)


def forks(count: int, length: int) -> Workload:
    """Measure memory, and the seconds to fork a sample after its prompt, sample once in all branches, and drop them."""

    def sampled(model: Model, tokens: list[int]) -> GenerateRequest:
        """Return a request that has sampled its first token."""
        drawn: list[Event] = []
        request = _request(tokens, 8, drawn.append)
        model.engine.add(request)
        while not drawn:
            model.engine.step()
        return request

    def stamps(model: Model, tokens: list[int]) -> Iterator[float]:
        engine, request, keys = model.engine, sampled(model, tokens), _keys(count)
        yield clock()
        branches = engine.fork(request, 0, keys)
        yield clock()
        engine.step()
        yield clock()
        engine.cancel(request, branches)
        yield clock()
        engine.cancel(request)

    def run(model: Model, passage: Passage) -> list[Metric]:
        engine, tokens = model.engine, passage.piece(length)
        held = engine.held
        seconds = [after - before for before, after in pairwise(list(stamps(model, tokens)))]
        tracemalloc.start()
        try:
            request = sampled(model, tokens)
            before = tracemalloc.get_traced_memory()[0]
            branches = engine.fork(request, 0, _keys(count))
            engine.step()
            memory, pages = tracemalloc.get_traced_memory()[0] - before, engine.held - held
        finally:
            tracemalloc.stop()
        engine.cancel(request)
        return [
            *[Metric(part, "s", value) for part, value in zip(FORK_PARTS, seconds, strict=True)],
            Metric("memory of one", "B", memory / len(branches)),
            Metric("pages of all, prompt's included", "", pages),
        ]

    return Workload("forks", f"{count:,} forks of a prompt of {length}", length + 2, run)


FORK_PARTS = ("to fork", "to draw and part", "to drop")


def mixed(requests: int, longest: int, answer: int, gap: int) -> Workload:
    """Measure tokens per second, time to first token and time between tokens of requests that arrive one by one.

    The next request arrives when the others have generated `gap` more tokens (immediately if all are done), so every
    machine runs the same steps.
    """

    def run(model: Model, passage: Passage) -> list[Metric]:
        engine, stamps, added = model.engine, list[list[float]](), list[GenerateRequest]()
        waiting = [(passage.piece(max(1, size)), max(1, new)) for size, new in mixed_lengths(requests, longest, answer)]

        def arrive() -> None:
            times = [clock()]
            tokens, new = waiting[len(stamps)]
            stamps.append(times)
            added.append(_request(tokens, new, lambda event: times.append(clock())))
            engine.add(added[-1])

        start = clock()
        try:
            while len(stamps) < len(waiting) or engine.busy:
                written = sum(len(times) - 1 for times in stamps)
                while len(stamps) < len(waiting) and (written >= gap * len(stamps) or not engine.busy):
                    arrive()
                engine.step()
        finally:
            for request in added:
                engine.cancel(request)
        seconds = clock() - start
        between = [b - a for times in stamps for a, b in pairwise(times[1:])]
        return [
            Metric("", "tokens/s", sum(len(times) - 1 for times in stamps) / seconds),
            *_percentiles("to the first token", [times[1] - times[0] for times in stamps]),
            *_percentiles("between tokens", between),
        ]

    return Workload("mixed", f"{requests} requests, one by one", longest + answer, run)


def mixed_lengths(requests: int, longest: int, answer: int) -> list[tuple[int, int]]:
    """Return the lengths of each request's prompt and answer, cycling down to 1/16 and 1/8 of the maximum."""
    return [(longest >> (3 * i % 5), answer >> (i % 4)) for i in range(requests)]


def _request(tokens: list[int], answer: int, sink: Callable[[Event], None]) -> GenerateRequest:
    """Return a request for a sample at temperature 1 that ends only at its token limit."""
    return GenerateRequest(
        prompt=np.array(tokens, np.int32),
        keys=_keys(1),
        sampling=make_sampling(1.0, 0, 1.0, 0.0),
        limit=answer,
        sink=sink,
        ended=lambda *_: None,
    )


def _keys(count: int) -> list[int]:
    return [branch_key(0, ("bench", i)) for i in range(count)]


def _percentiles(part: str, seconds: list[float]) -> list[Metric]:
    ordered = sorted(seconds)
    late = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return [Metric(f"{part}, median", "s", statistics.median(ordered)), Metric(f"{part}, 95%", "s", late)]


GROUPS: dict[str, tuple[Workload, ...]] = {
    "prompt": (prompt(128), prompt(512), prompt(1000)),
    "stream": (stream(64, 64, draft=True), stream(64, 64)),
    "samples": (samples(8, 64, 32), samples(64, 64, 32), samples(8, 512, 128), samples(64, 512, 128)),
    "forks": (forks(1000, 512),),
    "mixed": (mixed(16, 512, 128, 24),),
}
"""The workloads that `--only` selects."""
