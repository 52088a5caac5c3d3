"""Allocate bits per matrix by a policy fitted to another model (RAMP's claim of transfer), compared with the optimum.

    python benchmarks/ramp.py FIRST OTHER... --work DIR [--bits 4.5] [--source permuted]

RAMP (no program was published; the paper's 11 features are not fully known) lets a trained policy choose the bits of
each matrix. If the cost of each choice is measured, the knapsack of `mix:` is exact, so a policy can only win by not
having to measure. Here it is a linear regression: the logarithm of a matrix's cost `output` at 3, 4, 5 and 6 bits on 11
features of weights, inputs and position, fitted to the first model. It then allocates the bits of the others without
measuring. Prints the share of the optimal gain over 4 bits everywhere that it reaches, by the measured costs; and for
comparison the share reached by each matrix's own weight error, which needs no text. Costs are kept in `--work`.
"""

from __future__ import annotations

import argparse
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from common import parser
from numpy.typing import NDArray
from sensitivity import CALIBRATION, add_source, float_source

from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.numerics.dequantize import dequantize
from intact.quantizing import Calibration
from intact.quantizing.calibration import gather, products, read_statistics
from intact.quantizing.mixing import assign
from intact.quantizing.quantizers import COSTS, QUANTIZERS, SpecMixture, parse_spec
from intact.quantizing.quantizers.base import InputStatistics
from intact.receipts.identity import measure
from intact.text import Tokenizer

SPECS = ("int3-32", "int4-32", "int5-32", "int6-32")
UNIFORM = SPECS.index("int4-32")
FEATURES = (
    "mean of the inputs' squares", "largest input", "spread of the inputs' squares",
    "deviation of the weights", "largest weight", "kurtosis of the weights",
    "inputs", "outputs", "depth", "writes to the residual stream", "is of attention",
)  # fmt: skip


def features(matrix: NDArray[np.float32], inputs: InputStatistics, name: str, depth: float) -> list[float]:
    """Return the numbers of `FEATURES`, with sizes as logarithms."""
    squares = np.maximum(inputs.second.diagonal().astype(np.float64), 1) / inputs.rows * 4.0**inputs.exponent
    largest = float(max(inputs.largest.max(), 1)) * 2.0**inputs.exponent
    weights = matrix.astype(np.float64)
    deviation = float(weights.std())
    kurtosis = float(((weights / deviation) ** 4).mean())
    logarithms = np.log([squares.mean(), largest, np.square(squares).mean() / squares.mean() ** 2])
    sizes = np.log([deviation, np.abs(weights).max(), kurtosis, matrix.shape[1], matrix.shape[0]])
    writes = name.endswith(("attn_output.weight", "ffn_down.weight"))
    return [*logarithms.tolist(), *sizes.tolist(), depth, float(writes), float("attn" in name)]


def rows_of(path: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return shape, features and costs of each matrix; those of an earlier run are read from the work folder."""
    kept: Path = args.work / f"ramp-{path.stem}-{args.source}.json"
    if kept.is_file():
        return list(json.loads(kept.read_text()))
    found: list[dict[str, Any]] = []
    with open_checkpoint(float_source(path, args)) as checkpoint:
        program = build_program(checkpoint)
        tokens = tuple(Tokenizer.from_checkpoint(checkpoint).encode(args.calibrate.read_text()))
        model = measure(program).root.hex()
        read = read_statistics(gather(program, Calibration(tokens, *CALIBRATION), args.work, model))
        named = [(op, name) for op, names in products(program).items() for name in names if name.startswith("blk.")]
        layers = 1 + max(int(name.split(".")[1]) for _, name in named)
        for op, name in named:
            tensor, inputs = program.tensors[name], read(op)
            matrix = dequantize(tensor.kind, tensor.data, tensor.shape)
            costs: dict[str, list[float]] = {"output": [], "norm": []}
            for spec in map(parse_spec, SPECS):
                weight = QUANTIZERS[spec.quantizer](matrix, spec, inputs).weight
                for cost, values in costs.items():
                    values.append(COSTS[cost](matrix, weight, inputs))
            depth = int(name.split(".")[1]) / layers
            about = {"matrix": name, "shape": tensor.shape, "features": features(matrix, inputs, name, depth)}
            found.append(about | costs)
    kept.write_text(json.dumps(found))
    return found


def design(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([[1.0, *row["features"]] for row in rows])


def gain(rows: list[dict[str, Any]], guess: NDArray[np.float64], bits: Decimal) -> float:
    """Return the share of the cost of 4 bits everywhere that an allocation by estimated costs saves."""
    mixture = SpecMixture(bits, tuple(map(parse_spec, SPECS)))
    chosen = assign(mixture, [tuple(row["shape"]) for row in rows], guess.tolist())
    uniform = sum(row["output"][UNIFORM] for row in rows)
    return 1 - sum(row["output"][i] for row, i in zip(rows, chosen, strict=True)) / uniform


def main() -> None:
    p = parser(__doc__, text=False)
    add_source(p)
    p.add_argument("--bits", type=Decimal, default=Decimal("4.5"), help="budget in bits; int4-32 has 4.5")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    measured = {path.name: rows_of(path, args) for path in args.models}
    first = next(iter(measured.values()))
    fitted, *_ = np.linalg.lstsq(design(first), np.log([row["output"] for row in first]), rcond=None)
    table = []
    for name, rows in measured.items():
        true = np.array([row["output"] for row in rows])
        best = gain(rows, true, args.bits)
        predicted = design(rows) @ fitted
        lossy = true > 0  # a matrix whose values lie on the grid costs nothing
        logarithms = np.log(true[lossy])
        explained = 1 - float((logarithms - predicted[lossy]).var() / logarithms.var())
        policy, norm = (gain(rows, one, args.bits) for one in (np.exp(predicted), np.array([r["norm"] for r in rows])))
        table.append([name, len(rows), best, policy / best, norm / best, explained])
    if args.json:
        print(json.dumps(table, indent=1))
        return
    print("| model | matrices | optimal gain | share by the policy | share by the norm | explained |")
    print("|---" * 6 + "|")
    for name, count, best, *shares in table:
        print(f"| {name} | {count} | {best:.1%} | {' | '.join(f'{share:.0%}' for share in shares)} |")


if __name__ == "__main__":
    main()
