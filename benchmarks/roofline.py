"""Measure the roofline of the matrix product by weight format on one core, and the time spent unpacking codes.

    python benchmarks/roofline.py --seconds 0.3

A format is measured three times: one row by a matrix that no cache holds (bytes per second, against the memory's
limit), one row by a matrix of 576 x 576 in the second-level cache, and 64 rows by the same (multiply-adds per second,
against the multipliers' limit). Times are the thread's own processor time, the best of several runs.

"Unpacking" is the time in microseconds by which a product with the matrix in the cache exceeds that with 8-bit codes of
the same shape, which need none: the multiply-adds are the same, so the rest is converting stored codes to bytes. If it
is 0, the format is as fast as bytes. It includes twice as many scales if blocks have 16 inputs.
"""

from __future__ import annotations

import argparse
import json
from typing import NamedTuple

from common import machine
from kernels import FORMATS, limits, measure

from intact._native import kernels

LARGE, SMALL = (4096, 32768), (576, 576)  # inputs, outputs: 64 to 140 MB, and 100 to 350 kB
MANY = 64


class Row(NamedTuple):
    """A format's costs.

    Attributes
    ----------
    bytes : float
        Bytes of a weight in memory, including scales.
    memory_gb : float
        GB/s of weights for one row, from memory.
    one, many : float
        Microseconds of one row and of 64 by the matrix in the cache.
    unpack_one, unpack_many : float
        The part of these that exceeds the time of 8-bit codes.
    peak : float
        G multiply-adds/s of 64 rows.
    """

    format: str
    bytes: float
    memory_gb: float
    one: float
    unpack_one: float
    many: float
    unpack_many: float
    peak: float


def rows(tier: str, names: list[str], least: float) -> list[Row]:
    """Measure each named format, with 8 bits first as the baseline."""
    found: list[Row] = []
    work = SMALL[0] * SMALL[1] / 1e3  # multiply-adds of a row, in those that a rate of 1 G/s does in a microsecond
    for name in ["8", *(n for n in names if n != "8")]:
        large = measure(tier, FORMATS[name], *LARGE, 1, least)
        one = work / measure(tier, FORMATS[name], *SMALL, 1, least)["best"]
        rate = measure(tier, FORMATS[name], *SMALL, MANY, least)["best"]
        many = MANY * work / rate
        first = found[0] if found else None
        unpack = (max(0.0, one - first.one), max(0.0, many - first.many)) if first else (0.0, 0.0)
        size = large["gb"] / large["best"]
        found.append(Row(name, size, large["gb"], one, unpack[0], many, unpack[1], rate))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", default=kernels.tiers()[0])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--seconds", type=float, default=0.2, help="minimum seconds per measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    peak, memory = limits(options.tier)
    found = rows(options.tier, options.formats, options.seconds)
    if options.json:
        report = {"machine": machine(), "tier": options.tier, "peak": peak, "memory": memory}
        print(json.dumps(report | {"rows": [row._asdict() for row in found]}))
        return
    print(
        f"{machine()['processor']}, tier {options.tier}: peak {peak:.0f} G multiply-adds/s, memory {memory:.1f} GB/s\n"
    )
    columns = ("format", "bytes per weight", "1 row, memory", "of limit", "1 row, us", "unpacking", "64 rows, us",
               "unpacking", "of limit")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for r in found:
        cells = (r.format, f"{r.bytes:.3f}", f"{r.memory_gb:.1f} GB/s", f"{r.memory_gb / memory:.0%}", f"{r.one:.2f}",
                 f"{r.unpack_one:.2f}", f"{r.many:.1f}", f"{r.unpack_many:.1f}", f"{r.peak / peak:.0%}")  # fmt: skip
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
