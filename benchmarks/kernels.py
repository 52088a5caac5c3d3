"""Measure G multiply-adds per second of the matrix product on one core by format, rows and shape, and machine limits.

Weights and rows are random, never zeros. Times are the thread's own processor time: the best of several runs, and the
median. The limits are measured first, on one core: byte products in registers, and reading memory that no cache holds.
One row is compared with the memory limit (small shapes stay in a cache and exceed it), several rows with the
multipliers' limit. A row count whose rate is below 0.85 of the best of the smaller ones is called a cliff.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from common import machine

from intact._native import kernels

ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 32, 48, 64, 96, 128, 256, 512)
SHAPES = (
    (576, 576), (576, 1536), (1536, 576), (896, 4864), (4864, 896), (1536, 8960), (8960, 1536),
    (576, 49152), (1536, 151936),
)  # fmt: skip
CLIFF = 0.85


class Format(NamedTuple):
    bits: int
    block: int
    zero: int
    shift: int
    minima: bool = False
    table: int = 0
    """The largest table entry; 0 without a table."""


FORMATS = {
    "8": Format(8, 32, 128, 4), "6": Format(6, 16, 32, 2), "5": Format(5, 32, 16, 1),
    "5 min": Format(5, 32, 16, 1, True),
    "4": Format(4, 32, 8, 0), "4 min": Format(4, 32, 8, 0, True), "table": Format(4, 32, 128, 4, table=255),
    "3": Format(3, 16, 4, 0), "3 table": Format(3, 32, 128, 4, table=255),
    "3 table 16": Format(3, 16, 128, 4, table=255), "2": Format(2, 32, 1, 0), "2 min": Format(2, 16, 2, 0, True),
    "4 of 16": Format(4, 16, 8, 0), "table of 16": Format(4, 16, 12, 1, table=24),
    "6 of 32": Format(6, 32, 32, 2), "3 of 32": Format(3, 32, 4, 0),
    "2 table": Format(2, 32, 2, 0, table=4), "5 table": Format(5, 32, 100, 4, table=200),
    "6 table": Format(6, 32, 60, 3, table=120), "6 wide": Format(6, 32, 448, 6, table=896),
    "8 wide": Format(8, 32, 1984, 8, table=3968),
}  # fmt: skip


def weight(f: Format, columns: int, outputs: int, rng: np.random.Generator) -> Any:
    panels, blocks = -(-outputs // 16), -(-columns // 32)
    pairs = -(-blocks * (32 // f.block) // 2)
    size = panels * pairs * 32
    codes = rng.integers(0, 256, panels * blocks * f.bits * 64, np.uint8)
    entries = max(16, 1 << f.bits)
    table = np.sort(rng.choice(f.table + 1, entries, entries > f.table)).astype(np.int16) if f.table else None

    def integers() -> Any:
        return rng.integers(-32767, 32768, size).astype(np.int16)

    exponents = rng.integers(-24, -21, panels * 16).astype(np.int32)
    minima = (integers(), exponents) if f.minima else (None, None)
    return kernels.weight(
        outputs, columns, f.bits, f.block, f.zero, f.shift, table, codes, integers(), minima[0], exponents, minima[1]
    )


def seconds(run: Callable[[], object], least: float) -> tuple[float, float]:
    """Return the best and the median time of at least three runs that take at least `least` seconds together."""
    run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < least:
        began = time.thread_time()
        run()
        times.append(time.thread_time() - began)
    return min(times), statistics.median(times)


def measure(tier: str, f: Format, columns: int, outputs: int, rows: int, least: float) -> dict[str, float]:
    rng = np.random.default_rng(rows)
    w = weight(f, columns, outputs, rng)
    x = kernels.quantize(tier, rng.normal(0, 1 << 17, (rows, columns)).astype(np.int32), 16)
    out = np.zeros((rows, outputs), np.int32)
    work = columns * outputs * rows / 1e9
    times = max(1, int(0.5 / work))  # some milliseconds a run, so that the call itself does not count
    best, median = (
        s / times for s in seconds(lambda: kernels.matmul(tier, w, x, out, 16, None, None, None, times), least)
    )
    return {"best": work / best, "median": work / median, "gb": w.nbytes / 1e9 / best}


def limits(tier: str) -> tuple[float, float]:
    """Measure G multiply-adds per second in registers and GB/s from memory, on one core.

    Both are wall-clock rates, which other work on the machine lowers: the best of several attempts is returned.
    """
    tries = [kernels.limits(tier, 1) for _ in range(8)]
    peak, memory = (max(x) / 1e9 for x in zip(*tries, strict=True))
    return peak, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", default=kernels.tiers()[0])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=["4"])
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument(
        "--shapes", nargs="+", default=[f"{k}x{n}" for k, n in SHAPES], help="matrix shape: inputs x outputs"
    )
    parser.add_argument("--seconds", type=float, default=0.2, help="minimum seconds per measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    peak, memory = limits(options.tier)
    results, cliffs = [], []
    if not options.json:
        print(f"peak {peak:.0f} G multiply-adds/s, memory {memory:.1f} GB/s\n")
        print("| format | inputs x outputs | rows | best | median | of the limit |\n|---|---|---|---|---|---|")
    for name in options.formats:
        for shape in options.shapes:
            columns, outputs = map(int, shape.split("x"))
            top = 0.0
            for rows in sorted(options.rows):
                r = measure(options.tier, FORMATS[name], columns, outputs, rows, options.seconds)
                limit = f"{r['gb']:.1f} GB/s, {r['gb'] / memory:.0%}" if rows == 1 else f"{r['best'] / peak:.0%}"
                results.append({"format": name, "inputs": columns, "outputs": outputs, "rows": rows} | r)
                if r["best"] < CLIFF * top:
                    cliffs.append(f"format {name}, {shape}: {rows} rows, {r['best']:.0f} after {top:.0f}")
                top = max(top, r["best"])
                if not options.json:
                    print(f"| {name} | {shape} | {rows} | {r['best']:.0f} | {r['median']:.0f} | {limit} |", flush=True)
    if options.json:
        report = {"machine": machine(), "tier": options.tier, "peak": peak, "memory": memory}
        print(json.dumps(report | {"results": results, "cliffs": cliffs}))
    else:
        print("\n" + ("\n".join(f"cliff: {c}" for c in cliffs) or "no cliffs"))


if __name__ == "__main__":
    main()
