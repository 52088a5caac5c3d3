"""Measure the gain from a second thread, and what this machine could give at most.

Three processes each load the model: two with one thread, one with two. In turn, one thread works alone, two threads
share the work, and both one-thread processes work at once, sharing nothing but memory and caches: their combined rate
is what two cores can do. If that is less than twice the rate of one (cores that share an execution unit or a clock
limit, other virtual machines), two threads cannot do better either.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import common

import intact
from intact.measure.bench.passage import Passage
from intact.measure.bench.workloads import prompt, samples, stream

WORK = {work.title: work for work in (prompt(512), stream(64, 64), samples(8, 64, 32), samples(64, 64, 32))}


class Round(NamedTuple):
    """Tokens per second."""

    one: float
    two: float
    apart: float

    @property
    def gain(self) -> float:
        return self.two / self.one

    @property
    def possible(self) -> float:
        return self.apart / self.one


def serve(asked: Connection, path: Path, threads: int) -> None:
    """Do the work requested by its title, and return its rate."""
    model = intact.load(path, threads=threads)
    passage = Passage(model.tokenizer)
    for title in iter(asked.recv, None):
        asked.send(WORK[title].run(model, passage)[0].value)


def start(path: Path, threads: int) -> Connection:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=serve, args=(there, path, threads), daemon=True).start()
    return here


def rate(title: str, *workers: Connection) -> float:
    """Return the combined rate of workers that do the same work at once."""
    for worker in workers:
        worker.send(title)
    return sum(worker.recv() for worker in workers)


def measure(path: Path, titles: list[str], repeats: int) -> dict[str, list[Round]]:
    """Run rounds of all work; the first round of each is a warm-up and does not count."""
    first, second, both = start(path, 1), start(path, 1), start(path, 2)
    found: dict[str, list[Round]] = {title: [] for title in titles}
    for number in range(repeats + 1):
        for title in titles:
            done = Round(rate(title, first), rate(title, both), rate(title, first, second))
            if number:
                found[title].append(done)
    for worker in (first, second, both):
        worker.send(None)
    return found


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def table(name: str, found: dict[str, list[Round]]) -> str:
    """Return Markdown with medians, minimum and maximum."""
    lines = [
        "| model | tokens a second | one thread | two threads | times | two processes of one thread at once, times |",
        "|---" * 6 + "|",
    ]
    for title, rounds in found.items():
        rates = [spread([getattr(r, part) for r in rounds], 1) for part in ("one", "two")]
        times = [spread([getattr(r, part) for r in rounds], 2) for part in ("gain", "possible")]
        lines.append(f"| {' | '.join([name, title, *rates, *times])} |")
    return "\n".join(lines)


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--repeats", type=int, default=5, metavar="N")
    p.add_argument("--json", type=Path, metavar="FILE")
    args: argparse.Namespace = p.parse_args()
    documents: list[dict[str, Any]] = []
    for path in args.models:
        found = measure(path, list(WORK), args.repeats)
        print(table(path.stem, found), flush=True)
        documents += [
            {"model": path.stem, "work": title, "rounds": [r._asdict() for r in rounds]}
            for title, rounds in found.items()
        ]
    if args.json:
        args.json.write_text(json.dumps({"machine": common.machine(), "rows": documents}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
