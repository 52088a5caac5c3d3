"""Measure by simulation how often nominal 95% intervals contain the truth: a table of study/statistics.md.

    python benchmarks/intervals.py [--simulations 2000] [--only bootstrap] [--json FILE]

Benchmarks with a known truth are simulated: problems from a known population, and samples of each. An interval that
contains the truth less often than its level claims too much; one that contains it more often is wider than necessary.
The last rows show methods to avoid.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from intact.stats import bootstrap, clustered, mcnemar, paired_bootstrap, pass_at_k, tost, wilson

PROBLEMS, SAMPLES, RESAMPLES = 100, 8, 999
SHAPES = (0.8, 1.2)
"""Parameters of the population's Beta distribution: most problems are easy or hard."""

Simulation = Iterator[tuple[float, float, float]]


class Row(NamedTuple):
    """The results for an interval.

    Attributes
    ----------
    holds : float
        The share of simulations in which low <= truth <= high.
    error : float
        Its standard error.
    width : float
        The mean width.
    """

    interval: str
    of: str
    simulations: int
    holds: float
    error: float
    width: float


def share(rng: np.random.Generator, n: int, problems: int, rate: float) -> Simulation:
    """Simulate one sample per problem: evenly spaced quantiles of the binomial, less noisy than random draws."""
    for right in stats.binom.ppf((np.arange(n) + rng.random()) / n, problems, rate):
        yield (rate, *wilson(int(right), problems))


def tables(rng: np.random.Generator, n: int) -> Iterator[np.ndarray]:
    """Yield tables of problems x samples, right or wrong."""
    for _ in range(n):
        yield rng.random((PROBLEMS, SAMPLES)) < rng.beta(*SHAPES, (PROBLEMS, 1))


def clusters(rng: np.random.Generator, n: int) -> Simulation:
    """Simulate samples of problems, with problems as clusters."""
    for right in tables(rng, n):
        found = clustered(right)
        yield SHAPES[0] / sum(SHAPES), found.low, found.high


def over_problems(rng: np.random.Generator, n: int, method: str, k: int) -> Simulation:
    """Simulate the bootstrap of pass@k over problems."""
    truth = 1 - np.exp(np.log(np.arange(k) + SHAPES[1]).sum() - np.log(np.arange(k) + sum(SHAPES)).sum())
    for seed, right in enumerate(tables(rng, n)):
        passed = pass_at_k(SAMPLES, right.sum(axis=1), k)
        found = bootstrap(passed, method=method, resamples=RESAMPLES, seed=seed)
        yield truth, found.low, found.high


def both(rng: np.random.Generator, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rates of two methods on the same problems: the second solves nine tenths of what the first solves."""
    for _ in range(n):
        rates = rng.beta(*SHAPES, PROBLEMS)
        yield rng.binomial(SAMPLES, rates) / SAMPLES, rng.binomial(SAMPLES, 0.9 * rates) / SAMPLES


def pairs(rng: np.random.Generator, n: int, method: str) -> Simulation:
    """Simulate the bootstrap of differences."""
    for seed, (one, other) in enumerate(both(rng, n)):
        found = paired_bootstrap(one, other, method=method, resamples=RESAMPLES, seed=seed)
        yield 0.1 * SHAPES[0] / sum(SHAPES), found.low, found.high


def tests(rng: np.random.Generator, n: int) -> Simulation:
    """Simulate the interval behind the equivalence test, at 95%."""
    for one, other in both(rng, n):
        found = tost(one, other, 0.05, alpha=0.025)
        yield 0.1 * SHAPES[0] / sum(SHAPES), found.low, found.high


def verdicts(rng: np.random.Generator, n: int) -> Simulation:
    """Simulate McNemar's table: one sample of each problem by either method."""
    for _ in range(n):
        rates = rng.beta(*SHAPES, PROBLEMS)
        found = mcnemar(rng.random(PROBLEMS) < rates, rng.random(PROBLEMS) < 0.9 * rates)
        yield 0.1 * SHAPES[0] / sum(SHAPES), found.low, found.high


def samples_as_problems(rng: np.random.Generator, n: int) -> Simulation:
    """Simulate a score interval that treats samples as independent problems."""
    for right in tables(rng, n):
        yield (SHAPES[0] / sum(SHAPES), *wilson(int(right.sum()), right.size))


def plus_minus(rng: np.random.Generator, n: int) -> Simulation:
    """Simulate the share plus and minus two standard errors, where almost everything is right."""
    half = stats.norm.ppf(0.975)
    for right in rng.binomial(PROBLEMS, 0.98, n) / PROBLEMS:
        error = half * np.sqrt(right * (1 - right) / PROBLEMS)
        yield 0.98, right - error, right + error


ROWS: dict[tuple[str, str], Callable[[np.random.Generator, int], Simulation]] = {
    ("wilson", "proportion of 100 problems, 0.3"): lambda rng, n: share(rng, n, 100, 0.3),
    ("wilson", "proportion of 100 problems, 0.9"): lambda rng, n: share(rng, n, 100, 0.9),
    ("wilson", "proportion of 1,000 problems, 0.02"): lambda rng, n: share(rng, n, 1000, 0.02),
    ("clustered", "pass@1"): clusters,
    ("bootstrap, BCa", "pass@1"): lambda rng, n: over_problems(rng, n, "bca", 1),
    ("bootstrap, percentile", "pass@1"): lambda rng, n: over_problems(rng, n, "percentile", 1),
    ("bootstrap, BCa", "pass@4"): lambda rng, n: over_problems(rng, n, "bca", 4),
    ("bootstrap, percentile", "pass@4"): lambda rng, n: over_problems(rng, n, "percentile", 4),
    ("mcnemar", "difference of two proportions"): verdicts,
    ("paired_bootstrap, BCa", "difference of pass@1"): lambda rng, n: pairs(rng, n, "bca"),
    ("paired_bootstrap, percentile", "difference of pass@1"): lambda rng, n: pairs(rng, n, "percentile"),
    ("tost, alpha 0.025", "difference of pass@1"): tests,
    ("NOT: wilson, samples treated as problems", "pass@1"): samples_as_problems,
    ("NOT: proportion +- 1.96 standard errors", "proportion of 100 problems, 0.98"): plus_minus,
}


def measure(simulations: int, only: str = "", seed: int = 0) -> list[Row]:
    """Simulate the rows whose name contains `only`."""
    rows = []
    for number, ((interval, of), simulate) in enumerate(ROWS.items()):
        if only not in interval:
            continue
        rows.append(row_of(interval, of, list(simulate(np.random.default_rng([seed, number]), simulations))))
    return rows


def row_of(interval: str, of: str, found: Sequence[tuple[float, float, float]]) -> Row:
    """Summarise simulations, each given by the truth and the bounds, as a row."""
    truth, low, high = np.array(found).T
    holds = float(np.mean((low <= truth) & (truth <= high)))
    error = (holds * (1 - holds) / len(found)) ** 0.5
    return Row(interval, of, len(found), holds, error, float(np.mean(high - low)))


def run(description: str | None, measure: Callable[[int, str, int], list[Row]], simulations: int, width: str) -> None:
    """Parse the command line and print the rows as a Markdown table."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=simulations)
    parser.add_argument("--only", default="", help="only rows with this in their name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = measure(args.simulations, args.only, args.seed)
    print("| interval | quantity | coverage | mean width |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.interval} | {row.of} | {row.holds:.1%} ± {row.error:.1%} | {row.width:{width}} |")
    if args.json:
        args.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    run(__doc__, measure, 2000, ".3f")
