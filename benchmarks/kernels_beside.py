"""Compare the speed of the matrix product in two builds, by format and rows.

    python benchmarks/kernels_beside.py OTHER/src [--tier avx512] [--formats 4 "4 min"] [--rows 1 8 64] [--turns 9]

OTHER/src is the folder of another `intact` with its extension, for example in a git worktree of an earlier commit. Each
build runs in its own process; both are bound to one core, because cores of a shared machine differ, and take turns of a
few milliseconds.
Prints the median over turns of (speed of this build) / (speed of the other), with the minimum and maximum over shapes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import kernels

import intact

SHAPES = ((1536, 576), (896, 4864))


class Build:
    """A process with one of the two extensions."""

    def __init__(self, folder: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(folder)}
        command = [sys.executable, __file__, "--worker", str(folder)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def speed(self, request: list[Any]) -> float:
        """Return the best speed of a turn."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def work() -> None:
    """Answer requests until the input ends."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for line in sys.stdin:
        tier, name, columns, outputs, rows = json.loads(line)
        print(kernels.measure(tier, kernels.FORMATS[name], columns, outputs, rows, 0.0)["best"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="folder of the other intact, with its extension")
    parser.add_argument("--tier", default=kernels.kernels.tiers()[0])
    parser.add_argument("--formats", nargs="+", choices=kernels.FORMATS, default=list(kernels.FORMATS))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 2, 3, 5, 8, 64])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work()
        return
    this, other = Build(Path(intact.__file__).parents[1]), Build(options.other.resolve())
    print(f"tier {options.tier}\n\n| format | " + " | ".join(f"{rows} rows" for rows in options.rows) + " |")
    print("|---" * (len(options.rows) + 1) + "|")
    for name in options.formats:
        cells = []
        for rows in options.rows:
            found = []
            for shape in SHAPES:
                request = [options.tier, name, *shape, rows]
                turns = [(this.speed(request), other.speed(request)) for _ in range(options.turns)]
                found.append(statistics.median(own / its for own, its in turns))
            cells.append(f"{statistics.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
