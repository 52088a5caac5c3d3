"""Measure how well scaling laws predict known values: the tables of study/laws.md.

    python benchmarks/laws.py [--repeats 40] [--problems 200,1000,4000] [--json FILE]
    python benchmarks/laws.py --intervals [--repeats 30]
    python benchmarks/laws.py --curves [--repeats 200]
    python benchmarks/laws.py --logs $INTACT_DATA/logs/game24_gpt4

Problems are drawn from populations with known tails, with 100 samples each; laws are fitted to the counts, and their
exponent and pass@10,000 are compared with the known values. --intervals measures how often the bootstrap's 95%
intervals contain the latter. --curves measures how often forecasts with LC-PFN's prior contain coverage and votes at
two and four times the number of samples drawn, and the error of the law with the lowest AIC. --logs applies laws to the
first of some published samples and to all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from intact.stats.choosing_at_k import majority_at_k
from intact.stats.coverage import pass_at_k
from intact.stats.laws.curve import fit_curve
from intact.stats.laws.extrapolation import extrapolate
from intact.stats.laws.learning_curve import forecast_curve
from intact.stats.laws.population import FAMILIES, Population, fit_best, fit_population

SAMPLES, FAR = 100, 10_000
POPULATIONS = (
    Population("beta", 0.3, 2.0, 0, 0),
    Population("beta", 0.5, 1.0, 0, 0),
    Population("kumaraswamy", 0.3, 2.0, 0, 0),
    Population("kumaraswamy", 0.8, 3.0, 0, 0),
    Population("zero-inflated beta", 0.5, 1.5, 0.1, 0),
    Population("zero-inflated kumaraswamy", 0.5, 2.0, 0.2, 0),
)


DRAWN = 32
"""Number of samples per problem from which curves are forecast."""
FORECAST = {
    "pass": (POPULATIONS[0], POPULATIONS[1], POPULATIONS[3], POPULATIONS[4]),
    "majority": (POPULATIONS[1], Population("beta", 2.0, 3.0, 0, 0), POPULATIONS[4]),
}


def draw_rates(population: Population, problems: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the rate of each problem."""
    if population.family.endswith("kumaraswamy"):
        rates = (1 - (1 - rng.random(problems)) ** (1 / population.b)) ** (1 / population.a)
    else:
        rates = rng.beta(population.a, population.b, problems)
    return np.where(rng.random(problems) < population.never, 0, rates)


def draw(population: Population, problems: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the number of right samples of each problem."""
    return rng.binomial(SAMPLES, draw_rates(population, problems, rng))


def describe(population: Population) -> str:
    """Describe a population in words."""
    never = f", {population.never:.0%} never" if population.never else ""
    return f"{population.family.removeprefix('zero-inflated ')} {population.a:g}, {population.b:g}{never}"


def accuracy(population: Population, problems: int, repeats: int, seed: int) -> dict[str, Any]:
    """Return root mean square errors of three ways to fit, and the share of predictions within 3 points."""
    truth = float(population.pass_at_k(FAR))
    errors: dict[str, list[tuple[float, float]]] = {"its family": [], "lowest AIC": [], "curve": []}
    for repeat in range(repeats):
        c = draw(population, problems, np.random.default_rng([seed, problems, repeat]))
        laws = (fit_population(SAMPLES, c, population.family), fit_best(SAMPLES, c), fit_curve(SAMPLES, c))
        for law, found in zip(laws, errors.values(), strict=True):
            found.append((law.exponent / population.a - 1, float(law.pass_at_k(FAR)) - truth))
    row: dict[str, Any] = {"population": describe(population), "problems": problems, "truth": truth}
    for name, told in errors.items():
        exponent, coverage = np.sqrt(np.mean(np.square(told), axis=0))
        within = float(np.mean(np.abs(np.array(told)[:, 1]) <= 0.03))
        row[name] = {"exponent": float(exponent), "coverage": float(coverage), "within": within}
    return row


def intervals(population: Population, problems: int, repeats: int, seed: int) -> dict[str, Any]:
    """Measure how often bootstrap intervals contain pass@10,000, by the allowed laws."""
    truth = float(population.pass_at_k(FAR))
    row: dict[str, Any] = {"population": describe(population), "problems": problems, "truth": truth}
    for name, laws in (("its family", (population.family,)), ("lowest AIC", FAMILIES), ("curve", ("curve",))):
        held, width = 0, 0.0
        for repeat in range(repeats):
            c = draw(population, problems, np.random.default_rng([seed, problems, repeat]))
            found = extrapolate(SAMPLES, c, FAR, laws, resamples=100, seed=repeat)
            held += bool(found.low[0] <= truth <= found.high[0])
            width += float(found.high[0] - found.low[0]) / repeats
        row[name] = {"holds": held / repeats, "width": width}
    return row


def draw_answers(population: Population, problems: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw answers of samples of each problem: 0 is right, 1 to 3 are wrong with different probabilities."""
    rates = draw_rates(population, problems, rng)[:, None]
    chances = np.hstack([rates, (1 - rates) * rng.dirichlet(np.ones(3), problems)])
    return (np.cumsum(chances, axis=1)[:, None, :3] <= rng.random((problems, samples, 1))).sum(axis=2)


def vote_share(answers: np.ndarray) -> float:
    """Return the share of problems whose right answer has the most votes; ties count fractionally."""
    votes = np.stack([(answers == one).sum(axis=1) for one in range(4)], axis=1)
    most = votes == votes.max(axis=1, keepdims=True)
    return float((most[:, 0] / most.sum(axis=1)).mean())


def forecasts(population: Population, kind: str, problems: int, repeats: int, seed: int) -> dict[str, Any]:
    """Measure how often intervals contain coverage, or the vote, at two and four times the number of samples drawn."""
    wanted, numbers = [2 * DRAWN, 4 * DRAWN], [1 << i for i in range(DRAWN.bit_length())]
    truth = population.pass_at_k(wanted)
    if kind == "majority":
        many = draw_answers(population, 40_000, wanted[-1], np.random.default_rng([seed, 0]))
        truth = np.array([vote_share(many[:, :k]) for k in wanted])
    found, laws = [], []
    for repeat in range(repeats):
        answers = draw_answers(population, problems, DRAWN, np.random.default_rng([seed, problems, repeat]))
        right = (answers == 0).sum(axis=1)
        if kind == "majority":
            values = [majority_at_k(answers.tolist(), (answers == 0).tolist(), k) for k in numbers]
        else:
            values = [pass_at_k(DRAWN, right, k) for k in numbers]
            laws.append(fit_best(DRAWN, right).pass_at_k(wanted) - truth)
        found.append(forecast_curve(numbers, np.array(values).T, wanted, seed=repeat))
    low, high, estimate = (np.array([getattr(one, name) for one in found]) for name in ("low", "high", "estimate"))
    return {
        "population": describe(population),
        "curve": f"{kind}@{wanted[0]}, @{wanted[1]}",
        "truth": truth.tolist(),
        "holds": ((low <= truth) & (truth <= high)).mean(axis=0).tolist(),
        "width": (high - low).mean(axis=0).tolist(),
        "error": np.sqrt(((estimate - truth) ** 2).mean(axis=0)).tolist(),
        "effective": float(np.median([one.effective for one in found])),
        "error of the law": np.sqrt(np.square(laws).mean(axis=0)).tolist() if laws else [],
    }


def show_forecasts(repeats: int, seed: int, problems: int) -> list[dict[str, Any]]:
    """Print the accuracy of forecasts, each row as soon as it is known."""
    columns = (
        "population", "quantity", "true value", "coverage", "width, points", "error, points", "effective draws",
        "error with lowest AIC",
    )  # fmt: skip
    print(f"| {' | '.join(columns)} |{chr(10)}{'|---' * len(columns)}|")
    rows = []
    for population, kind in [(one, kind) for kind, populations in FORECAST.items() for one in populations]:
        row = forecasts(population, kind, problems, repeats, seed)
        rows.append(row)
        cells = [row["population"], row["curve"], ", ".join(f"{one:.3f}" for one in row["truth"])]
        cells.append(", ".join(f"{one:.0%}" for one in row["holds"]))
        wide, off, law = (
            ", ".join(f"{100 * one:.1f}" for one in row[name]) for name in ("width", "error", "error of the law")
        )
        print(f"| {' | '.join([*cells, wide, off, format(row['effective'], ',.0f'), law])} |", flush=True)
    return rows


def published(folder: Path) -> None:
    """Print predictions from the first samples for all samples, and from all samples for 10,000."""
    print("| log | samples | predicted | law | prediction | exponent | observed |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted(folder.glob("*sample_100*.json")):
        right = np.array(
            [p.get("accs") or [info["r"] for info in p["infos"]] for p in json.loads(path.read_text("utf-8"))]
        )
        for samples, k in ((20, 100), (50, 100), (100, FAR)):
            seen = f"{(right.any(axis=1)).mean():.0%}" if k == right.shape[1] else "-"
            for laws in (FAMILIES, ("curve",)):
                found = extrapolate(samples, right[:, :samples].sum(axis=1), k, laws)
                name = getattr(found.law, "family", "curve")
                span = f"{found.coverage[0]:.0%} ({found.low[0]:.0%} to {found.high[0]:.0%})"
                exponent = f"{found.exponent.estimate:.2f} ({found.exponent.low:.2f} to {found.exponent.high:.2f})"
                print(f"| {path.stem} | {samples} | pass@{k:,} | {name} | {span} | {exponent} | {seen} |")


def show(rows: Iterable[dict[str, Any]], as_intervals: bool) -> None:
    """Print rows as soon as they are known."""
    for place, row in enumerate(rows):
        names = [name for name, value in row.items() if isinstance(value, dict)]
        if not place:
            print(f"| population | problems | pass@{FAR:,} | {' | '.join(names)} |")
            print("|---" * (3 + len(names)) + "|")
        cells = [
            f"{row[name]['holds']:.0%}, {100 * row[name]['width']:.1f} wide"
            if as_intervals
            else f"{row[name]['exponent']:.1%}, {100 * row[name]['coverage']:.1f} points, {row[name]['within']:.0%}"
            for name in names
        ]
        print(f"| {row['population']} | {row['problems']:,} | {row['truth']:.3f} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--problems", type=lambda text: [int(part) for part in text.split(",")], default=None)
    parser.add_argument("--intervals", action="store_true", help="check intervals instead of estimates")
    parser.add_argument("--curves", action="store_true", help="check forecasts of curves by LC-PFN's prior")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--logs", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    if args.logs:
        published(args.logs)
        return
    if args.curves:
        told = show_forecasts(args.repeats, args.seed, (args.problems or [100])[0])
        if args.json:
            args.json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        return
    measure = intervals if args.intervals else accuracy
    sizes = args.problems or ([300] if args.intervals else [200, 1000, 4000])
    rows: list[dict[str, Any]] = []

    def measured() -> Iterator[dict[str, Any]]:
        for population, size in itertools.product(POPULATIONS, sizes):
            rows.append(measure(population, size, args.repeats, args.seed))
            yield rows[-1]

    show(measured(), args.intervals)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
