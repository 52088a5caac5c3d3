"""Measure product errors at three bits, with and without AWQ's scales, rounded to nearest and with GPTQ.

    python benchmarks/transforms.py smollm2-135m-instruct TEXT --layers 0,10,20,29

For each kind of matrix, prints tr(D H DT) / tokens, summed over some layers of the permuted model, relative to that of
rounding to nearest. H of a scaled input is that of the input divided by the scales and rounded.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from intact.checkpoints.catalogue import resolve
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.numerics.dequantize import dequantize
from intact.numerics.weights import values
from intact.quantizing import Calibration
from intact.quantizing.calibration import Collector
from intact.quantizing.lab.sources import write_source
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, parse_spec
from intact.quantizing.quantizers.proxy import output_error
from intact.quantizing.quantizers.transforms.awq import best_scales, sampled_rows, searched
from intact.quantizing.quantizers.transforms.folding import all_inputs
from intact.quantizing.structure import find_structure
from intact.text import Tokenizer


def scaled(inputs: InputStatistics, scales: np.ndarray) -> InputStatistics:
    """Return statistics of the inputs divided by scales."""
    padded = np.ones(len(inputs.second))
    padded[: len(scales)] = scales
    second = np.floor(inputs.second / padded[:, None] / padded + 0.5).astype(np.int64)
    return inputs._replace(second=second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--spec", default="int3-32")
    parser.add_argument("--layers", default="0,10,20,29")
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    layers = {f"blk.{n}." for n in options.layers.split(",")}
    with TemporaryDirectory() as folder:
        write_source(resolve(options.model), "permuted", Path(folder) / "model")
        with open_checkpoint(Path(folder) / "model") as checkpoint:
            measure(checkpoint, options, layers)


def measure(checkpoint, options, layers) -> None:
    program = build_program(checkpoint)
    wanted = [i for i in all_inputs(find_structure(program)) if any(i.matrices[0].startswith(n) for n in layers)]
    tokens = tuple(Tokenizer.from_checkpoint(checkpoint).encode(options.text.read_text("utf-8")))
    text = Calibration(tokens, 512, options.windows)
    statistics = Collector(program, options.threads).collect(text, [where.op for where in wanted])
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(4))
    spec = parse_spec(options.spec)
    for where in wanted:
        inputs = statistics[where.op]
        matrices = {}
        for name in where.matrices:
            stored = program.tensors[name]
            matrices[name] = dequantize(stored.kind, stored.data, stored.shape)
        scales = where.spread(best_scales(where, [*map(sampled_rows, matrices.values())], inputs, (searched(spec),)))
        for name, matrix in matrices.items():
            errors = []
            for s in (np.ones(len(scales)), scales):
                w = (matrix * s).astype(np.float32)
                for quantizer in ("nearest", "gptq"):
                    made = QUANTIZERS[quantizer](w, spec, scaled(inputs, s)).weight
                    errors.append(output_error(matrix - values(made) / s, inputs))
            sums[name.split(".")[2]] += errors
    print(f"{'matrices':<14}{'nearest':>12}{'gptq':>8}{'awq':>8}{'awq+gptq':>10}")
    for name, (nearest, gptq, awq, both) in [*sums.items(), ("all", sum(sums.values()))]:
        print(f"{name:<14}{nearest:>12.5g}{gptq / nearest:>8.3f}{awq / nearest:>8.3f}{both / nearest:>10.3f}")


if __name__ == "__main__":
    main()
