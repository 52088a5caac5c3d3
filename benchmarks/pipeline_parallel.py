"""Measure pipeline parallelism on this machine, and estimate it on others: time, bytes per token, memory per rank.

    python benchmarks/pipeline_parallel.py smollm2-135m [--stages 1 2 3 4] [--repeats 3] [--tokens 16] [--prompt 256]

For each number of stages, a model is loaded in this many processes on this machine and does two things: it generates
tokens one by one, greedily, after a prompt of one, and it reads a prompt. Texts are compared with those of one process.
Prints medians over the rounds, the bytes that rank 0 sends and receives for a generated token and for a prompt token,
and for each rank the bytes of its weights, and of the cache per position.

The estimate is for machines like this one, each with one rank and all of this one's threads. A generated token passes
one machine after the other: it takes the time of one process, the latency to each other rank and back, and its bytes. A
prompt is read in P parts on S ranks at once, in the time of one process times (P + S - 1) / (P S), where the slowest
rank has one S-th of the work, plus its bytes. --latency (microseconds, one way) and --gigabits give the network.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import machine, parser

import intact
from intact.library.parallel.pipeline import PART_ROWS, PipelineExecutor, StageMemory


class Cost(NamedTuple):
    """Costs for one number of stages: seconds and bytes of a generated token, and of a prompt token."""

    write: float
    read: float
    written_bytes: float
    read_bytes: float


class Round(NamedTuple):
    """The measurements of one load of a model."""

    cost: Cost
    text: list[int]
    memory: tuple[StageMemory, ...]
    positions: int


def measure(path: Path, stages: int, threads: int | None, tokens: int, prompt: int) -> Round:
    """Run one round with this many stages."""
    with intact.load(path, threads=threads, pipeline_parallel=stages, drafter="off", prefix_cache=False) as model:
        ids = [int(t) for t in np.random.default_rng(1).integers(100, 1000, prompt)]
        model.generate([ids[:8]], max_tokens=2)
        before, began = _moved(model), time.perf_counter()
        model.generate([ids], max_tokens=1)
        read, read_bytes = (time.perf_counter() - began) / prompt, (_moved(model) - before) / prompt
        before, began = _moved(model), time.perf_counter()
        ((answer,),) = model.generate([ids[:1]], max_tokens=tokens, ignore_eos=True)
        write, written_bytes = (time.perf_counter() - began) / tokens, (_moved(model) - before) / tokens
        executor = model.executor
        memory = executor.memory if isinstance(executor, PipelineExecutor) else ()
        return Round(Cost(write, read, written_bytes, read_bytes), list(answer.tokens), memory, executor.page_size)


def _moved(model: intact.Model) -> int:
    executor = model.executor
    return sum(executor.moved.values()) if isinstance(executor, PipelineExecutor) else 0


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__, text=False)
    arguments.add_argument("--stages", type=int, nargs="+", default=[1, 2, 3, 4])
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--threads", type=int)
    arguments.add_argument("--tokens", type=int, default=16)
    arguments.add_argument("--prompt", type=int, default=256)
    arguments.add_argument("--latency", type=float, default=30.0)
    arguments.add_argument("--gigabits", type=float, default=10.0)
    options = arguments.parse_args()
    counts = sorted({1, *options.stages})
    parts = -(-options.prompt // PART_ROWS)
    for path in options.models:
        rounds: dict[int, list[Round]] = {count: [] for count in counts}
        for _ in range(options.repeats):
            for count in counts:
                rounds[count].append(measure(path, count, options.threads, options.tokens, options.prompt))
        texts = [one.text for several in rounds.values() for one in several]
        print(" · ".join(map(str, (path.name, *machine().values(), f"medians of {options.repeats}"))))
        print(f"texts equal: {all(text == texts[0] for text in texts)}")
        print("stages  written ms  prompt ms  kB written  kB prompt  estimate written ms  estimate prompt ms")
        alone = _medians(rounds[1])
        for count in counts:
            cost = _medians(rounds[count])
            latency, rate = (count - 1) * 2 * options.latency * 1e-6, options.gigabits * 1e9 / 8
            write = alone.write + latency + cost.written_bytes / rate
            read = alone.read * (parts + count - 1) / (parts * count) + cost.read_bytes / rate
            print(
                f"{count:6}  {cost.write * 1e3:10.1f}  {cost.read * 1e3:9.2f}  {cost.written_bytes / 1e3:10.1f}"
                f"  {cost.read_bytes / 1e3:9.1f}  {write * 1e3:19.1f}  {read * 1e3:18.2f}"
            )
        for count in counts[1:]:
            one = rounds[count][0]
            held = (
                f"{m.layers.width} layers, {m.weight_bytes / 1e6:.1f} MB, {m.page_bytes / one.positions / 1e3:.1f} kB"
                for m in one.memory
            )
            print(f"{count} stages hold layers, weights, and cache of a position: {'; '.join(held)}")


def _medians(rounds: list[Round]) -> Cost:
    return Cost(*(statistics.median(values) for values in zip(*(one.cost for one in rounds), strict=True)))


if __name__ == "__main__":
    main()
