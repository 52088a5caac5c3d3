"""Measure tensor parallelism on this machine: time against one process, bytes per token; and estimate it on a network.

    python benchmarks/tensor_parallel.py smollm2-135m [--degrees 1 2 3 4] [--repeats 3] [--tokens 16] [--prompt 128]

For each degree, a model is loaded in this many processes, which share this machine's cores, and does two things: it
generates tokens one by one, greedily, and it reads a prompt. Texts are compared with those of one process. Prints
medians over the rounds, and the bytes that rank 0 sends and receives for a generated token.

The estimate is for machines like this one, each with one rank: the largest rank's part runs here in isolation, on all
cores, while exchanges return zeros at once. For each exchange, a step adds the latency there and back, and the bytes
through rank 0's connection. --latency (microseconds, one way) and --gigabits give the network.

Finally, exchanges and bytes of a generated token are counted as they are, and as they would be if the projections that
end attention and MLP were split by inputs (input_cuts.py). --counts prints only these, and measures nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import machine, parser
from input_cuts import count_traffic
from numpy.typing import NDArray

import intact
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor
from intact.library.parallel.cut import cut_program
from intact.library.parallel.executor import ParallelExecutor
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import AllGather


class Cost(NamedTuple):
    """Costs at one degree: seconds per generated and per prompt token; exchanges and bytes per generated token."""

    write: float
    read: float
    exchanges: float
    bytes: float


def measure(path: Path, degree: int, threads: int | None, tokens: int, prompt: int) -> tuple[Cost, list[int]]:
    """Run one round at a degree; return its costs and the generated tokens."""
    with intact.load(path, threads=threads, tensor_parallel=degree, drafter="off", prefix_cache=False) as model:
        ids = [int(t) for t in np.random.default_rng(1).integers(100, 1000, prompt)]
        model.generate([ids[:8]], max_tokens=2)
        began = time.perf_counter()
        model.generate([ids], max_tokens=1)
        read = (time.perf_counter() - began) / prompt
        before = _traffic(model)
        began = time.perf_counter()
        ((answer,),) = model.generate([ids[:8]], max_tokens=tokens, ignore_eos=True)
        write = (time.perf_counter() - began) / tokens
        moved = [b - a for a, b in zip(before, _traffic(model), strict=True)]
        return Cost(write, read, moved[0] / tokens, moved[1] / tokens), list(answer.tokens)


def _traffic(model: intact.Model) -> tuple[int, int]:
    executor = model.executor
    if not isinstance(executor, ParallelExecutor):
        return 0, 0
    traffic = executor.traffic
    return traffic["exchanges"], traffic["sent"] + traffic["received"]


def alone(program: Program, degree: int, threads: int | None, rows: int) -> float:
    """Return the median seconds of rank 0's part of a step in isolation."""

    def exchange(op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        if not op.accumulate:
            whole[:] = 0

    part = program if degree == 1 else cut_program(program, (1,) * degree, 0)
    executor = NativeExecutor(part, threads=threads, exchange=None if degree == 1 else exchange)
    executor.reserve_pages(16)
    chunk = SequenceChunk(128, np.full(rows, 200, np.int32), np.arange(16, dtype=np.int32))
    found = _median(lambda: executor.step([chunk], np.array([rows - 1])), 9)
    executor.close()
    return found


def _median(run: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__, text=False)
    arguments.add_argument("--degrees", type=int, nargs="+", default=[1, 2, 3, 4])
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--threads", type=int)
    arguments.add_argument("--tokens", type=int, default=16)
    arguments.add_argument("--prompt", type=int, default=128)
    arguments.add_argument("--latency", type=float, default=30.0)
    arguments.add_argument("--gigabits", type=float, default=10.0)
    arguments.add_argument("--counts", action="store_true")
    options = arguments.parse_args()
    for path in [] if options.counts else options.models:
        costs: dict[int, list[Cost]] = {degree: [] for degree in options.degrees}
        texts: list[list[int]] = []
        for _ in range(options.repeats):
            for degree in options.degrees:
                cost, text = measure(path, degree, options.threads, options.tokens, options.prompt)
                costs[degree].append(cost)
                texts.append(text)
        with intact.load(path) as model:
            program = model.program
            estimates = {degree: alone(program, degree, options.threads, 1) for degree in options.degrees}
        print(" · ".join(map(str, (path.name, *machine().values(), f"medians of {options.repeats}"))))
        print(f"texts equal: {all(text == texts[0] for text in texts)}")
        print("degree  written ms  prompt ms  exchanges  kB a token  alone ms  estimate ms")
        for degree, found in costs.items():
            write, read, exchanges, size = (statistics.median(values) for values in zip(*found, strict=True))
            network = exchanges * 2 * options.latency * 1e-6 + size * 8 / (options.gigabits * 1e9)
            print(
                f"{degree:6}  {write * 1e3:10.1f}  {read * 1e3:9.2f}  {exchanges:9.0f}  {size / 1e3:10.1f}"
                f"  {estimates[degree] * 1e3:8.1f}  {(estimates[degree] + network) * 1e3:11.1f}"
            )
    for path in options.models:
        program = build_program(open_checkpoint(path))
        print(f"{path.name}: exchanges and kB of a written token, cut by outputs and by inputs")
        for degree in (one for one in options.degrees if one > 1):
            now, other = (count_traffic(program, degree, by_inputs=which) for which in (False, True))
            print(
                f"{degree:6}  {now.exchanges:9} {now.bytes / 1e3:9,.0f}  {other.exchanges:9} {other.bytes / 1e3:9,.0f}"
            )


if __name__ == "__main__":
    main()
