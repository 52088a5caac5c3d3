"""Fit how the best numbers of solutions and of verdicts grow with the budget, from the kept records and pools.

    python benchmarks/exponents.py            # print the table; scaling_tables.py writes it into study/scaling.md
    python benchmarks/exponents.py RESULT     # with the verdicts of another result of generative_verifier

The method is the one in the section "Solve or verify" of `intact report` (arXiv 2504.01005): of S solutions, choose the
one with the largest mean of V verdicts. The first row has the verdicts that the 0.5B wrote (generative verifier 4: four
solutions, one verdict each). The others put verdicts of a set quality on the pools' texts: a verdict is right with
probability q, independently of others on the same text, and costs what a real one costs. Intervals resample problems.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RECORDS
from difficulty import Floats, study
from pools import DETECTED, Pool

from intact.stats.budget_split import best_splits, best_verified_at, exponents
from intact.tasks.score.value.noise import NORMAL, normal

QUALITIES = (0.6, 0.7, 0.8, 0.9)
CHECKS = 8
RESAMPLES = 200
BUDGETS = (2.0, 4.0, 8.0, 16.0, 32.0)
"""In solutions; the largest pays for 16 solutions with several verdicts each."""
RESULT = "gsm8k-0-0.7-512-qwen2.5-coder-0.5b-instruct-q4_k_m-generative-verifier-4.jsonl"


class Verdicts(NamedTuple):
    """Solutions of problems with verdicts: for each problem the verdicts by solution, and which solutions are right.

    `ratio` is the number of tokens of a verdict relative to those of a solution.
    """

    values: Sequence[Sequence[Sequence[float]]]
    right: Sequence[Sequence[bool]]
    ratio: float

    @property
    def rates(self) -> tuple[float, float]:
        """The shares of yes among the verdicts on right and on wrong solutions."""
        found: dict[bool, list[float]] = {True: [], False: []}
        for own, flags in zip(self.values, self.right, strict=True):
            for verdicts, flag in zip(own, flags, strict=True):
                found[flag] += verdicts
        return float(np.mean(found[True])), float(np.mean(found[False]))


@cache
def recorded(result: Path | None = None) -> Verdicts:
    """Return the verdicts in a result of generative_verifier, by default the kept ones of the 0.5B.

    `ratio` is the number of tokens of one verdict relative to those of a solution.
    """
    values, right, tokens, solved = [], [], 0, 0
    for record in map(json.loads, _lines(result)[1:]):
        own = [one for one in record.get("samples", ()) if one["verdicts"]]
        if own:
            values.append([[0.5 if v["value"] is None else v["value"] for v in one["verdicts"]] for one in own])
            right.append([bool(one["correct"]) for one in own])
            tokens += sum(v["tokens"] for one in own for v in one["verdicts"])
            solved += sum(one["tokens"] for one in own) * len(own[0]["verdicts"])
    return Verdicts(values, right, tokens / solved)


def _lines(result: Path | None) -> list[bytes]:
    if result is not None:
        return result.read_bytes().splitlines()
    with tarfile.open(RECORDS / "scaling.results.tar.xz") as archive:
        file: Any = archive.extractfile(RESULT)
        lines: list[bytes] = file.read().splitlines()
        return lines


def supposed(pools: Sequence[Pool], quality: float, ratio: float, checks: int = CHECKS, most: int = 16) -> Verdicts:
    """Return keyed verdicts on the first texts of pools, each right with probability `quality`."""
    threshold = NORMAL.inv_cdf(quality)
    values = [
        [
            [
                float((normal(f"verdict|{pool.id}|{text}|{check}") < threshold) == bool(pool.right[text]))
                for check in range(checks)
            ]
            for text in range(most)
        ]
        for pool in pools
    ]
    return Verdicts(values, [[bool(one) for one in pool.right[:most]] for pool in pools], ratio)


class Fit(NamedTuple):
    """Exponents of the numbers of solutions and of verdicts, each with a 95% interval and a detectable difference."""

    solving: tuple[float, float, float, float]
    verifying: tuple[float, float, float, float]


def accuracy(verdicts: Verdicts) -> Floats:
    """Return the accuracy by problem, number of solutions and number of verdicts."""
    checks = len(verdicts.values[0][0])
    return np.array(
        [
            np.array([best_verified_at(own, flags, count) for count in range(1, checks + 1)]).T
            for own, flags in zip(verdicts.values, verdicts.right, strict=True)
        ]
    )


def fit(verified: Floats, ratio: float, budgets: Sequence[float] = BUDGETS) -> Fit:
    """Fit exponents to the best splits of budgets, and resample problems."""
    rng, count = np.random.default_rng(0), len(verified)
    own = exponents(best_splits(verified.mean(axis=0), ratio, budgets))
    drawn = np.array(
        [
            exponents(best_splits(verified[rng.integers(0, count, count)].mean(axis=0), ratio, budgets))
            for _ in range(RESAMPLES)
        ]
    )
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    seen = DETECTED * drawn.std(axis=0, ddof=1)
    first, second = (tuple(map(float, one)) for one in zip(own, low, high, seen, strict=True))
    return Fit(first, second)  # type: ignore[arg-type]


def table(linked: Callable[[str], str] = str, result: Path | None = None) -> str:
    """Return a row for the recorded verdicts and for each supposed quality, as Markdown."""
    head = ["verdicts", "yes if right", "yes if wrong", "solutions x verdicts", "budgets", "solutions", "verdicts"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    real = recorded(result)
    largest = len(real.values[0]) * (1 + real.ratio * len(real.values[0][0]))
    small = sorted({1 + real.ratio, *(float(1 << i) for i in range(1, int(largest).bit_length())), largest})
    rows = [(f"of the 0.5B ({linked('generative verifier 4')})", real, small)]
    rows += [(f"supposed, q = {q:g}", supposed(study().pools, q, real.ratio), list(BUDGETS)) for q in QUALITIES]
    for name, verdicts, budgets in rows:
        found = fit(accuracy(verdicts), verdicts.ratio, budgets)
        checks = len(verdicts.values[0][0])
        cells = [name, *(f"{rate:.0%}" for rate in verdicts.rates), f"{len(verdicts.values[0])} x {checks}"]
        cells += [f"{budgets[0]:.3g} to {budgets[-1]:.3g}", _shown(found.solving)]
        cells.append(_shown(found.verifying) if checks > 1 else "not known: one verdict each")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(numbers: tuple[float, float, float, float]) -> str:
    mean, low, high, seen = numbers
    return f"{mean:z.2f} ({low:z.2f} to {high:z.2f}; {seen:.2f})"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("result", nargs="?", type=Path, help="result of `intact eval --method generative_verifier`")
    print(table(result=p.parse_args().result))


if __name__ == "__main__":
    main()
