"""Compare training matrices with few values and rounding to them afterwards: study/quantizers.md, spectra, fairy2i.

    python benchmarks/tiny_model.py float --steps 600 --batch 4 --threads 1
    python benchmarks/tiny_model.py ternary --ternary --steps 600 --batch 4 --threads 1
    python benchmarks/trained_ternary.py float ternary --text wiki.test.txt --work DIR

and for the complex phases of iFairy

    python benchmarks/tiny_model.py phases --phases --steps 200 --batch 4 --threads 1
    python benchmarks/trained_ternary.py float phases --kept fairy2i:phases1 --specs fairy2i:phases1,fairy2i:phases2 ...

Prints the mean loss of the next token for each model, in nats with half its 95% interval over windows, the perplexity,
and the difference from the trained model, window by window. Everything is computed in FP32 arithmetic.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from intact._base.exact import exp, mean
from intact._base.files import read_text
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.quantizing import Calibration, quantize
from intact.quantizing.divergence import compare
from intact.quantizing.logits import scored, window_logits
from intact.stats.intervals import Clustered, clustered
from intact.text import Tokenizer

TRAINED = "trained"


def losses(folder: Path, text: str, context: int, windows: int) -> list[float]:
    """Return the mean loss of the scored tokens of each window, in nats."""
    with open_checkpoint(folder) as checkpoint:
        program = build_program(checkpoint)
        sample = Calibration(tuple(Tokenizer.from_checkpoint(checkpoint).encode(text)), context, windows)
        following = [tokens[scored(sample) + 1].astype(np.int64) for tokens in sample.chunks()]
        pairs = zip(window_logits(program, sample), following, strict=True)
        return [mean(compare(logits, logits, tokens).loss.tolist()) for logits, tokens in pairs]


def over_windows(values: list[float]) -> Clustered:
    """Return the mean with its interval by Student's quantile."""
    return clustered(np.array(values)[:, None])


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("float", type=Path)
    p.add_argument("trained", type=Path, help="model whose matrices were trained with few values")
    p.add_argument("--text", required=True, type=Path)
    p.add_argument("--work", required=True, type=Path, help="folder for quantised models")
    p.add_argument("--kept", default="ternary-64@largest", help="spec that can represent the trained weights")
    p.add_argument("--specs", default="spectra:ternary-64,ternary-64")
    p.add_argument("--context", type=int, default=256)
    p.add_argument("--windows", type=int, default=32)
    options = p.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    models = {TRAINED: options.trained, "float": options.float}
    for name, source, spec in (
        (f"{TRAINED}, {options.kept}", options.trained, options.kept),
        *((f"float, {spec}", options.float, spec) for spec in options.specs.split(",")),
    ):
        models[name] = options.work / f"{source.name}-{spec.translate(str.maketrans(':@+|', '____'))}"
        if not models[name].exists():
            quantize(source, models[name], spec)
    text = read_text(options.text)
    found = {name: losses(folder, text, options.context, options.windows) for name, folder in models.items()}
    print(f"| model | loss, nats | perplexity | more than {TRAINED} |\n|---|---|---|---|")
    for name, values in found.items():
        own = over_windows(values)
        gap = over_windows(np.subtract(values, found[TRAINED]).tolist())
        more = "" if name == TRAINED else f"{gap.estimate:.4f} [{gap.low:.4f}, {gap.high:.4f}]"
        print(f"| {name} | {own.estimate:.3f} ± {own.high - own.estimate:.3f} | {exp(own.estimate):.1f} | {more} |")


if __name__ == "__main__":
    main()
