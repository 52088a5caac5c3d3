"""Measure errors of specs on Gaussian weights and on a model's matrices, without running the model.

    python benchmarks/quantizers.py MODEL --work DIR [--specs int4-32,nupes:nupes4] [--matrices 6] [--source permuted]

Prints relative errors, square roots of squared errors over squares: of 64 Gaussian rows of 4096, of the weights of a
sample of matrices, and of their products on `--calibrate` (means over matrices).
"""

from __future__ import annotations

import json

import numpy as np
from common import parser
from numpy.typing import NDArray
from sensitivity import CALIBRATION, add_source, float_source, sample_of

from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.numerics.dequantize import dequantize
from intact.numerics.weights import values
from intact.quantizing import Calibration
from intact.quantizing.calibration import gather, read_statistics
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, Spec, parse_spec
from intact.receipts.identity import measure
from intact.text import Tokenizer

SPECS = (
    "int2-32,int3-32,int4-32,int4-row,e2m1-32,e2m1-row,e2m3-32,e2m3-row,int6-16,nf4-64,fp4,shift2,shift3,shift4,"
    "nupes4,nupes:nupes4-32,nupes:nupes4-row,lloyd2,lloyd3,lloyd4,lloyd:lloyd3-row,lloyd:lloyd4-row,ternary,"
    "spectra:ternary,trits2-64,ptqtp:trits2-64,llm_fp4:e2m1-32,llm_fp4:e2m1-row,gptq:int3-32,gptq:e2m1-32,gptq:shift3,"
    "gptq:lloyd3,gptq:lloyd4,gptq:trits2-64,gptq_ordered:int3-32,"
    "adaround:int3-32,descent:int3-32,gptq:int4-32,adaround:int4-32,descent:int4-32,gptq:int2-16,adaround:int2-16,"
    "descent:int2-16"
)
Pair = tuple[NDArray[np.float32], InputStatistics]


def of_weights(pair: Pair, spec: Spec) -> tuple[float, float]:
    """Return the relative errors of a matrix and of its products."""
    matrix, inputs = pair
    d = values(QUANTIZERS[spec.quantizer](matrix, spec, inputs).weight) - matrix
    h = inputs.second[: matrix.shape[1], : matrix.shape[1]].astype(np.float64)
    products = (np.einsum("nk,nk->", d @ h, d), np.einsum("nk,nk->", matrix @ h, matrix))
    return float(np.sqrt((d**2).sum() / (matrix.astype(float) ** 2).sum())), float(np.sqrt(products[0] / products[1]))


def gaussian() -> Pair:
    """Return Gaussian weights with independent inputs."""
    matrix = np.random.default_rng(0).standard_normal((64, 4096)).astype(np.float32)
    ones = np.ones(4096, np.int64)
    return matrix, InputStatistics(1, 0, np.diag(ones << 20), ones << 10, ones << 10)


def main() -> None:
    p = parser(__doc__, text=False)
    add_source(p)
    p.add_argument("--specs", type=lambda value: [parse_spec(one) for one in value.split(",")], default=SPECS)
    p.add_argument("--matrices", type=int, default=6)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    for path in args.models:
        with open_checkpoint(float_source(path, args)) as checkpoint:
            program, tokenizer = build_program(checkpoint), Tokenizer.from_checkpoint(checkpoint)
            sample = Calibration(tuple(tokenizer.encode(args.calibrate.read_text())), *CALIBRATION)
            read = read_statistics(gather(program, sample, args.work, measure(program).root.hex()))
            tensors = [(program.tensors[name], op) for name, op in sample_of(program, args.matrices)]
            matrices = [(dequantize(tensor.kind, tensor.data, tensor.shape), read(op)) for tensor, op in tensors]
        if not args.json:
            print(f"{path.name}, {args.source}: {len(matrices)} matrices")
            print("| spec | bits in memory | Gaussian | weights | products |\n|---|---|---|---|---|", flush=True)
        for spec in args.specs:
            errors = np.mean([of_weights(pair, spec) for pair in matrices], axis=0).tolist()
            row = {"spec": str(spec), "bits": spec.stored_bits(), "gaussian": of_weights(gaussian(), spec)[0]}
            if args.json:
                print(json.dumps(row | {"weights": errors[0], "products": errors[1]}), flush=True)
            else:
                cells = (f"{error:.3f}" for error in (row["gaussian"], *errors))
                print(f"| `{spec}` | {row['bits']:.2f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
