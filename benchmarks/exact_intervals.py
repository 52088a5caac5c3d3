"""Compute the coverage of exact intervals by enumeration, and their widths: a table of study/statistics.md.

    python benchmarks/exact_intervals.py [--json FILE]

Only the example problems of the last rows are random. Counts: for every number of right answers among graded and
upcoming problems, all ways to split them. Batches and sets: all choices of the upcoming problems among some with scores
1/n ... 1, or with votes. The printed coverage is the minimum over the unknowns; it is never below the level.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from intact.stats.answer_sets import answer_set, least_share, least_share_of_batch, right_share
from intact.stats.batches import at_most_wrong, batch_mean, batch_quantile, predict_mean
from intact.stats.prediction import predict_right


class ExactRow(NamedTuple):
    """An interval's exact coverage.

    Attributes
    ----------
    level : float
        The nominal level.
    holds : Fraction
        The probability that it contains the truth, the minimum over the unknowns.
    width : float
        The mean width.
    unit : str
        The width's unit, and the origin of one-sided bounds.
    """

    interval: str
    of: str
    level: float
    holds: Fraction
    width: float
    unit: str


def counts(graded: int, to_come: int, level: float) -> ExactRow:
    """Evaluate intervals for the right answers to come; widths are means over all totals, equally weighted."""
    bounds = [predict_right(right, graded, to_come, level) for right in range(graded + 1)]
    least, width = Fraction(1), 0.0
    for total in range(graded + to_come + 1):
        every = math.comb(graded + to_come, total)
        held = Fraction(0)
        for right in range(max(0, total - to_come), min(graded, total) + 1):
            chance = Fraction(math.comb(graded, right) * math.comb(to_come, total - right), every)
            held += chance * (bounds[right].low <= total - right <= bounds[right].high)
            width += float(chance) * (bounds[right].high - bounds[right].low) / (graded + to_come + 1)
        least = min(least, held)
    return ExactRow("`predict_right`", f"{to_come} after {graded}", level, least, width, "problems")


GRADED, COMING = 12, 4
"""Numbers of problems for the rows over all choices: 1,820 choices."""


def splits() -> Iterator[tuple[list[int], list[int]]]:
    """Yield all choices of upcoming problems: the indices of graded and of upcoming ones."""
    everyone = range(GRADED + COMING)
    for chosen in combinations(everyone, COMING):
        yield [place for place in everyone if place not in chosen], list(chosen)


def over_splits(
    interval: str, of: str, level: float, unit: str, one: Callable[[list[int], list[int]], tuple[bool, float]]
) -> ExactRow:
    """Average over all choices of upcoming problems."""
    found = [one(graded, coming) for graded, coming in splits()]
    holds = Fraction(sum(held for held, _ in found), len(found))
    return ExactRow(interval, of, level, holds, sum(width for _, width in found) / len(found), unit)


SCORES = [Fraction(place, GRADED + COMING) for place in range(1, GRADED + COMING + 1)]
"""Evenly spaced scores of the problems."""


def mean_both(level: float) -> ExactRow:
    """Evaluate the two-sided interval of the mean of upcoming scores."""

    def one(graded: list[int], coming: list[int]) -> tuple[bool, float]:
        low, high = predict_mean([SCORES[i] for i in graded], COMING, level)
        return low <= sum(SCORES[i] for i in coming) / COMING <= high, float(high - low)

    return over_splits("`predict_mean`", f"mean of {COMING} after {GRADED}", level, "of scores in 0 to 1", one)


def mean_above(level: float) -> ExactRow:
    """Evaluate the upper bound of the mean of upcoming scores."""

    def one(graded: list[int], coming: list[int]) -> tuple[bool, float]:
        high = batch_mean([SCORES[i] for i in graded], COMING, level)
        return sum(SCORES[i] for i in coming) / COMING <= high, float(high)

    return over_splits("`batch_mean`", f"mean of {COMING} after {GRADED}", level, "from 0", one)


def place_above(level: float) -> ExactRow:
    """Evaluate the upper bound of the second largest upcoming score; an infinite bound counts as 1, the maximum."""

    def one(graded: list[int], coming: list[int]) -> tuple[bool, float]:
        high = batch_quantile([SCORES[i] for i in graded], COMING, COMING - 1, level)
        return sorted(SCORES[i] for i in coming)[COMING - 2] <= high, float(min(high, 1))

    return over_splits("`batch_quantile`", f"place {COMING - 1} of {COMING} after {GRADED}", level, "from 0", one)


RIGHT = [place % 4 != 1 for place in range(GRADED + COMING)]
"""Correctness by confidence: a quarter are wrong, at all confidences."""


def answered(level: float) -> ExactRow:
    """Evaluate the bound for at most one wrong answer above a confidence; widths are shares of answers given."""

    def one(graded: list[int], coming: list[int]) -> tuple[bool, float]:
        bound = at_most_wrong([SCORES[i] for i in graded], [RIGHT[i] for i in graded], COMING, 1, level)
        given = [i for i in coming if SCORES[i] > bound]
        return sum(not RIGHT[i] for i in given) <= 1, len(given) / COMING

    return over_splits("`at_most_wrong`", f"1 of {COMING} after {GRADED}", level, "of answers given", one)


def votes() -> list[list[str]]:
    """Draw six votes for each of some problems of different difficulty; the right answer is "a"."""
    rng = random.Random(0)
    chances = [rng.choice((0.2, 0.5, 0.9)) for _ in range(GRADED + COMING)]
    return [[rng.choice("bcd") if rng.random() > p else "a" for _ in range(6)] for p in chances]


VOTES = votes()
SHARES = [right_share(given, [answer == "a" for answer in given]) for given in VOTES]


def one_set(level: float) -> ExactRow:
    """Evaluate the set for one more problem, each in turn; giving no set counts as containing it, with all answers."""
    found = []
    for place, given in enumerate(VOTES):
        least = least_share([share for i, share in enumerate(SHARES) if i != place], level)
        found.append((least is None or SHARES[place] >= least, 4 if least is None else len(answer_set(given, least))))
    holds = Fraction(sum(held for held, _ in found), len(found))
    of = f"a set after {len(VOTES) - 1}"
    return ExactRow("`least_share`", of, level, holds, sum(size for _, size in found) / len(found), "answers per set")


def batch_of_sets(level: float) -> ExactRow:
    """Evaluate the event that three of four sets contain a right answer at once."""

    def one(graded: list[int], coming: list[int]) -> tuple[bool, float]:
        least = least_share_of_batch([SHARES[i] for i in graded], COMING, 0.75, level)
        if least is None:
            return True, 4.0
        held = sum(SHARES[i] >= least for i in coming)
        return held >= 0.75 * COMING, sum(len(answer_set(VOTES[i], least)) for i in coming) / COMING

    return over_splits("`least_share_of_batch`", f"3 of {COMING} sets after {GRADED}", level, "answers per set", one)


def measure() -> list[ExactRow]:
    """Compute all rows."""
    rows = [counts(*sizes, level) for sizes in ((20, 10), (100, 20), (100, 100)) for level in (0.9, 0.95)]
    for of in (mean_both, mean_above, place_above, answered, one_set, batch_of_sets):
        rows += [of(level) for level in (0.7, 0.9)]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = measure()
    print("| interval | quantity | level | coverage | mean width |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.interval} | {row.of} | {row.level:.0%} | {float(row.holds):.2%} | {row.width:.3g} {row.unit} |")
    if args.json:
        values = [row._asdict() | {"holds": float(row.holds)} for row in rows]
        args.json.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
