"""The roofline of the matrix product by weight format on one core, and how much of the time is spent unpacking codes.

    python benchmarks/roofline.py --seconds 0.3

A format is measured three times: one row by a matrix that no cache holds (bytes a second, against the memory's limit),
one row by a matrix in the second-level cache, and 64 rows (multiply-adds a second, against the multipliers' limit).
"Unpacking" is the share of a time by which it exceeds that of 8-bit codes of the same shape, which need none; where
that is 0 or less, the format is as fast as bytes. It counts twice as many scales where blocks have 16 inputs.
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
    """A format's rates: GB/s of weights for one row, G multiply-adds/s, and shares of time spent unpacking."""

    format: str
    bits: float
    memory_gb: float
    one_cached: float
    many: float
    unpack_memory: float
    unpack_cached: float
    unpack_many: float


def rows(tier: str, names: list[str], least: float) -> list[Row]:
    """Measure each named format, 8 bits first as what the others are compared with."""
    found: list[Row] = []
    bytes_: tuple[float, ...] = ()
    for name in ["8", *(n for n in names if n != "8")]:
        large = measure(tier, FORMATS[name], *LARGE, 1, least)
        cached = measure(tier, FORMATS[name], *SMALL, 1, least)["best"]
        many = measure(tier, FORMATS[name], *SMALL, MANY, least)["best"]
        rates = large["best"], cached, many
        bytes_ = bytes_ or rates
        unpack = [max(0.0, 1 - rate / of_bytes) for rate, of_bytes in zip(rates, bytes_, strict=True)]
        bits = 8 * large["gb"] / large["best"]
        found.append(Row(name, bits, large["gb"], cached, many, *unpack))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", default=kernels.tiers()[0])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--seconds", type=float, default=0.2, help="least time for a figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    peak, memory = limits(options.tier)
    found = rows(options.tier, options.formats, options.seconds)
    if options.json:
        report = {"machine": machine(), "tier": options.tier, "peak": peak, "memory": memory}
        print(json.dumps(report | {"rows": [row._asdict() for row in found]}))
        return
    print(f"peak {peak:.0f} G multiply-adds/s, memory {memory:.1f} GB/s\n")
    print(
        "| format | bits | 1 row, memory | of limit | unpacking | 1 row, cache | unpacking | 64 rows | of limit", end=""
    )
    print(" | unpacking |\n|---|---|---|---|---|---|---|---|---|---|")
    for r in found:
        from_memory = f"{r.memory_gb:.1f} GB/s | {r.memory_gb / memory:.0%} | {r.unpack_memory:.0%}"
        cached = f"{r.one_cached:.0f} G/s | {r.unpack_cached:.0%}"
        many = f"{r.many:.0f} G/s | {r.many / peak:.0%} | {r.unpack_many:.0%}"
        print(f"| {r.format} | {r.bits:.2f} | {from_memory} | {cached} | {many} |")


if __name__ == "__main__":
    main()
