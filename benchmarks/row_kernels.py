"""Measure nanoseconds per value of the kernels that work row by row: gates and quantisation, on one core.

Values are random. Times are the thread's own processor time, the best of several runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
from common import machine
from kernels import seconds

from intact._native import kernels

COLUMNS = 4864


def runs(tier: str, rows: int) -> dict[str, Callable[[], object]]:
    """Return a run of each kernel on `rows` rows of 4,864 values distributed like a model's."""
    rng = np.random.default_rng(0)

    def narrow() -> np.ndarray:
        return rng.normal(0, 1 << 17, (rows, COLUMNS)).astype(np.int32)

    gates, up, x = narrow().ravel(), narrow().ravel(), narrow()
    wide = rng.normal(0, 3 << 20, (rows, COLUMNS)).astype(np.int64)
    return {
        "gate, SiLU": lambda: kernels.gate(tier, gates, up, False),
        "gate, GELU": lambda: kernels.gate(tier, gates, up, True),
        "quantise, narrow": lambda: kernels.quantize(tier, x, 16),
        "quantise, wide": lambda: kernels.quantize_wide(tier, wide),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", nargs="+", default=kernels.tiers())
    parser.add_argument("--rows", type=int, default=16, help="number of rows of 4,864 values; a few stay in the caches")
    parser.add_argument("--seconds", type=float, default=0.2, help="minimum seconds per measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    values = options.rows * COLUMNS
    results = {
        tier: {name: seconds(run, options.seconds)[0] / values * 1e9 for name, run in runs(tier, options.rows).items()}
        for tier in options.tier
    }
    if options.json:
        print(json.dumps({"machine": machine(), "nanoseconds": results}))
        return
    names = list(next(iter(results.values())))
    print("| tier | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for tier, times in results.items():
        print(f"| {tier} | " + " | ".join(f"{times[name]:.2f}" for name in names) + " |")


if __name__ == "__main__":
    main()
