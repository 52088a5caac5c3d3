"""Correlate the costs of mixtures with the KL divergence, quantising one matrix at a time.

    python benchmarks/sensitivity.py MODEL --work DIR [--specs int3-32,int2-32] [--matrices 24] [--source permuted]

For a sample of a model's matrices, evenly spread, the divergence is measured in FP32 arithmetic on `--text`; the costs
of `mix:BITS@COST(...)` only use `--calibrate`. Prints Spearman's rank correlation of each cost with the divergence, for
each spec and for all together, and its difference from that of `output`, with 95% intervals by resampling matrices. An
interrupted run continues from `--work`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, parser, text_path
from numpy.typing import NDArray
from scipy.stats import spearmanr

from intact.checkpoints.formats import open_checkpoint
from intact.models import Program, build_program
from intact.numerics.dequantize import dequantize
from intact.numerics.weights import values
from intact.quantizing import Calibration
from intact.quantizing.calibration import gather, products, read_statistics
from intact.quantizing.lab.sources import SOURCES, write_source
from intact.quantizing.quantizers import COSTS, QUANTIZERS, parse_spec
from intact.quantizing.slopes import Meter, measure_slopes
from intact.receipts.identity import measure
from intact.text import Tokenizer

CALIBRATION = (256, 8)


def add_source(p: argparse.ArgumentParser) -> None:
    """Add --source and --work, for `float_source`, and --calibrate."""
    p.add_argument("--source", choices=["file", *SOURCES], default="permuted", help="kind of float weights")
    p.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="folder for the source, statistics and results"
    )
    p.add_argument("--calibrate", type=text_path, default=str(DATA / "wikitext2" / "valid.txt"), metavar="FILE")


def float_source(path: Path, args: argparse.Namespace) -> Path:
    """Return the model whose weights are quantised: the file, or an equivalent model that is made once."""
    args.work.mkdir(parents=True, exist_ok=True)
    source: Path = args.work / f"{path.stem}-{args.source}"
    if args.source == "file":
        return path
    if not source.exists():
        write_source(path, args.source, source)
    return source


def sample_of(program: Program, count: int) -> list[tuple[str, int]]:
    """Return matrices, evenly spread over the model, with the product to which each belongs."""
    found = [(name, op) for op, names in products(program).items() for name in names]
    count = min(count, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def rows_of(program: Program, tokenizer: Tokenizer, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return costs and divergence for each matrix and spec; finished ones are read from the work folder."""
    scored = Calibration(tuple(tokenizer.encode(args.text.read_text())), args.context, args.windows)
    tokens = tuple(tokenizer.encode(args.calibrate.read_text()))
    learnt = Calibration(tokens, *CALIBRATION)
    noise = Calibration(tokens, args.context, args.windows)
    model = measure(program).root.hex()
    sample = sample_of(program, args.matrices)
    read = read_statistics(gather(program, learnt, args.work, model))
    meter, journal = Meter(program, scored), args.work / f"sensitivity-{model[:16]}-{scored.digest[:16]}.jsonl"
    done = {(row["matrix"], row["spec"]): row for row in map(json.loads, open_lines(journal))}
    for name, op in sample:
        slope = measure_slopes(program, noise, [name], args.work, model)[name]
        tensor = program.tensors[name]
        for spec in map(parse_spec, args.specs):
            if (name, str(spec)) in done:
                continue
            matrix, inputs = dequantize(tensor.kind, tensor.data, tensor.shape), read(op)
            weight = QUANTIZERS[spec.quantizer](matrix, spec, inputs).weight
            costs = {cost: one(matrix, weight, inputs) * (slope if one.measured else 1) for cost, one in COSTS.items()}
            row = {"matrix": name, "spec": str(spec), "kl": meter.divergence(name, values(weight))} | costs
            done[name, str(spec)] = row
            with journal.open("a") as file:
                file.write(json.dumps(row) + "\n")
    wanted = [(name, str(parse_spec(spec))) for spec in args.specs for name, _ in sample]
    return [done[key] for key in wanted]


def open_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def correlations(rows: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Return Spearman's rank correlation of each cost with the divergence, and its difference from that of `output`.

    Intervals of 95% come from 2,000 resamples of matrices, the same for all costs.
    """
    names = sorted({row["matrix"] for row in rows})
    by_name = [[row for row in rows if row["matrix"] == name] for name in names]
    draw, found = np.random.default_rng(0), []
    for _ in range(2000):
        found.append(_ranked([row for i in draw.integers(0, len(names), len(names)) for row in by_name[i]]))
    whole = _ranked(rows)
    lead, base = np.array(found).T, list(COSTS).index("output")
    return {
        cost: (_cell(whole[i], lead[i]), _cell(whole[i] - whole[base], lead[i] - lead[base]) if i != base else "")
        for i, cost in enumerate(COSTS)
    }


def _ranked(rows: list[dict[str, Any]]) -> list[float]:
    kl = [row["kl"] for row in rows]
    return [float(spearmanr([row[cost] for row in rows], kl).statistic) for cost in COSTS]


def _cell(whole: float, resampled: NDArray[np.float64]) -> str:
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return f"{whole:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    p = parser(__doc__)
    add_source(p)
    p.add_argument("--specs", type=lambda value: value.split(","), default=["int3-32", "int2-32"])
    p.add_argument("--matrices", type=int, default=24)
    p.add_argument("--context", type=int, default=128, help="tokens per window; its second half is scored")
    p.add_argument("--windows", type=int, default=1)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    for path in args.models:
        with open_checkpoint(float_source(path, args)) as checkpoint:
            rows = rows_of(build_program(checkpoint), Tokenizer.from_checkpoint(checkpoint), args)
        if args.json:
            print(json.dumps(rows, indent=1))
            continue
        print(f"{path.name}, {args.source}: {len({row['matrix'] for row in rows})} matrices")
        specs = list(dict.fromkeys(row["spec"] for row in rows))
        heads = [*specs, "both", "difference from `output`"]
        print(f"| cost | {' | '.join(heads)} |\n{'|---' * (len(heads) + 1)}|")
        parts = [correlations([row for row in rows if row["spec"] == spec]) for spec in specs]
        together = correlations(rows)
        for cost in COSTS:
            print(f"| `{cost}` | {' | '.join([*(part[cost][0] for part in parts), *together[cost]])} |")


if __name__ == "__main__":
    main()
