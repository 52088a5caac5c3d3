"""Measure a draw with its log-probability in microseconds per row on one thread: python benchmarks/sampling.py [tier].

The rows of logits resemble a model's: a bulk 16 nats below the largest, and 300 tokens in between. Times are processor
time, the minimum of several rounds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from intact.executors.native import NativeExecutor
from intact.measure.conformance.synthetic import cases
from intact.numerics.sampling import Draw, Edits, make_sampling

VOCABULARIES = (49_152, 151_936)
ROWS, ROUNDS = 64, 15
SETTINGS = {
    "greedy": make_sampling(0.0),
    "temperature 1": make_sampling(1.0),
    "temperature 0.8": make_sampling(0.8),
    "temperature 0.8, top_k 40": make_sampling(0.8, top_k=40),
    "temperature 0.8, top_p 0.95": make_sampling(0.8, top_p=0.95),
    "temperature 0.8, min_p 0.05": make_sampling(0.8, min_p=0.05),
    "temperature 0.8, typical 0.95": make_sampling(0.8, typical=0.95),
    "temperature 1, top_p 0.95": make_sampling(1.0, top_p=0.95),
    "temperature 2, top_p 0.95": make_sampling(2.0, top_p=0.95),
}


def rows_of(vocabulary: int) -> NDArray[np.int32]:
    rng = np.random.default_rng(1)
    nats = rng.normal(-16, 3, (ROWS, vocabulary))
    few = rng.integers(0, vocabulary, (ROWS, 300))
    np.put_along_axis(nats, few, -rng.exponential(4, few.shape), 1)
    return np.rint(nats * 65536).astype(np.int32)


def microseconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - before)
    return best / ROWS / 1000


def main() -> None:
    executor = NativeExecutor(next(iter(cases())).program, threads=1, tier=sys.argv[1] if len(sys.argv) > 1 else None)
    print(executor.description["tier"], *(f"{vocabulary:>12,}" for vocabulary in VOCABULARIES))
    tables = {vocabulary: rows_of(vocabulary) for vocabulary in VOCABULARIES}

    def report(name: str, work: Callable[[NDArray[np.int32]], object]) -> None:
        times = (microseconds(lambda table=table: work(table)) for table in tables.values())
        print(f"{name:<66}", *(f"{time:12.1f}" for time in times), flush=True)

    for name, sampling in SETTINGS.items():
        draws = [Draw(row, sampling, 7, row) for row in range(ROWS)]
        report(name, lambda logits, draws=draws: executor.draw(logits, draws))
    setting = "temperature 0.8, top_p 0.95"
    sampling = SETTINGS[setting]
    seen = np.arange(1000, dtype=np.int32)
    edits = Edits(repetition=1_100_000, repeated=seen, forbidden=seen[:2])
    mask = np.full(5000, 0xFFFFFFFF, np.uint32)
    for name, extra in {
        "repetition penalty over 1,000 tokens": {"edits": edits},
        "a mask of all tokens": {"mask": mask},
        "a mask of every 32nd": {"mask": mask // mask},
    }.items():
        draws = [Draw(row, sampling, 7, row, **extra) for row in range(ROWS)]
        report(f"{setting}, {name}", lambda logits, draws=draws: executor.draw(logits, draws))
    one = [Draw(0, sampling, key, 5) for key in range(ROWS)]
    report(f"{setting}, all from one row", lambda logits: executor.draw(logits, one))
    numbers = np.arange(ROWS)
    report("top 8 with log-probabilities", lambda logits: executor.top(logits, numbers, 8))
    report("log-probability alone", lambda logits: executor.log_probabilities(logits, numbers))


if __name__ == "__main__":
    main()
