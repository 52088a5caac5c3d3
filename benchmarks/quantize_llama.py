"""Compare quantized GGUF files of llama.cpp and of `intact quantize` at equal size: study/quantizers.md.

    python benchmarks/quantize_llama.py MODEL --llama PATH/TO/llama-quantize --text TEXT --calibrate TEXT --work FOLDER

MODEL's weights are permuted or rotated (`intact.quantizing.lab.sources`) and written as a GGUF file in F32; with
`--source file`, MODEL is such a file (benchmarks/tiny_gguf.py). llama-quantize gets an importance matrix made of the
statistics from intact's calibration, so both learn from the same tokens. Token embeddings and head are Q8_0 in all
files. In a spec, {bits} is replaced by the bits per weight of each of llama.cpp's files. `--types "IQ1_S pure"`
requests a file with a single type. Divergences are those of the lab, in FP32 arithmetic. An interrupted run continues
from FOLDER.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intact._base.exact import exp, mean, total
from intact._base.files import read_text, write_whole
from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.gguf_writer import pair, write_gguf
from intact.checkpoints.formats.safetensors import Stored
from intact.models import build_program
from intact.quantizing import Calibration, quantize
from intact.quantizing.calibration import gather, products, read_statistics
from intact.quantizing.divergence import compare
from intact.quantizing.lab.sources import SOURCES, write_source
from intact.quantizing.logits import scored, window_logits
from intact.quantizing.output import write_gguf_checkpoint
from intact.quantizing.quantizers import InputStatistics
from intact.receipts.identity import measure
from intact.text import Tokenizer

EMBEDDINGS = "q8_0"
FILE = "file"


def write_imatrix(path: Path, found: dict[str, InputStatistics], text: str) -> None:
    """Write the diagonals of second moments as llama.cpp's importance matrix, by matrix name."""
    stored, data = [], {}
    for name, one in found.items():
        sums = np.ldexp(one.second.diagonal().astype(np.float64), 2 * one.exponent).astype("<f4")
        for suffix, value in ((".in_sum2", sums[None]), (".counts", np.full((1, 1), one.rows, "<f4"))):
            data[name + suffix] = value.tobytes()
            stored.append(Stored(name + suffix, "F32", value.shape, value.nbytes))
    chunks = {"imatrix.chunk_count": 1, "imatrix.chunk_size": next(iter(found.values())).rows}
    pairs = {key: pair(key, value) for key, value in chunks.items()}
    pairs["general.type"] = pair("general.type", "imatrix")
    pairs["imatrix.datasets"] = pair("imatrix.datasets", [text])
    write_gguf(path, pairs, stored, data.__getitem__)


class Comparison:
    """A source in the work folder, the logits of its windows, and rows of measurements."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, Path(options.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.source = Path(options.model) if options.source == FILE else self.work / "source.gguf"
        if not self.source.exists():
            folder = self.work / "source"
            write_source(options.model, options.source, folder)
            with open_checkpoint(folder) as checkpoint:
                write_gguf_checkpoint(checkpoint, list(checkpoint.tensors.values()), self.source, options.source)
        with open_checkpoint(self.source) as checkpoint:
            self.program = build_program(checkpoint)
            tokenizer = Tokenizer.from_checkpoint(checkpoint)
            self.text, self.learnt = (
                Calibration(tuple(tokenizer.encode(read_text(Path(file)))), options.context, windows)
                for file, windows in ((options.text, options.windows), (options.calibrate, options.calibration_windows))
            )
        self.names = {name: tensor.name for name, tensor in self.program.tensors.items()}
        self.logits = self.kept_logits()
        self.imatrix = self.work / "imatrix.gguf"
        if not self.imatrix.exists():
            digest = measure(self.program).root.hex()
            read = read_statistics(gather(self.program, self.learnt, self.work / "statistics", digest))
            by_name = {self.names[n]: read(op) for op, names in products(self.program).items() for n in names}
            write_imatrix(self.imatrix, by_name, Path(options.calibrate).name)

    def kept_logits(self) -> NDArray[np.int32]:
        file = self.work / "logits.npy"
        if not file.exists():
            found = [logits.copy() for logits in window_logits(self.program, self.text)]
            np.save(file, np.stack(found))
        return np.load(file, mmap_mode="r")  # type: ignore[no-any-return]

    def row(self, name: str, make: Callable[[Path], object]) -> dict[str, object]:
        """Return the measurements of a file, which is made if it does not exist."""
        kept = self.work / f"{name.translate(str.maketrans(':|()', '____'))}.json"
        if not kept.exists():
            file = kept.with_suffix(".gguf")
            if not file.exists():
                make(file)
            write_whole(kept, json.dumps({"file": name, **self.figures(file)}))
        return dict(json.loads(read_text(kept)))

    def figures(self, file: Path) -> dict[str, object]:
        with open_checkpoint(file) as checkpoint:
            program = build_program(checkpoint)
            matrices = [program.tensors[n] for names in products(program).values() for n in names]
            bits = 8 * sum(m.stored_bytes for m in matrices) / sum(m.shape[0] * m.shape[1] for m in matrices)
            kinds: dict[str, int] = {}
            for m in matrices:
                kinds[m.kind] = kinds.get(m.kind, 0) + 1
            kl, loss, same = [], [], 0
            windows = zip(self.text.chunks(), self.logits, window_logits(program, self.text), strict=True)
            for tokens, before, after in windows:
                found = compare(before, after, tokens[scored(self.text) + 1].astype(np.int64))
                kl.append(mean(found.kl.tolist()))
                loss.append(mean(found.loss.tolist()))
                same += int(found.same.sum())
        middle, count = mean(kl), len(kl)
        error = math.sqrt(total((k - middle) ** 2 for k in kl) / (count * max(1, count - 1)))
        return {
            "bits": bits, "bytes": file.stat().st_size, "kl": middle, "kl_error": error,
            "same_top": same / self.logits[..., 0].size, "perplexity": exp(mean(loss)), "kinds": kinds,
        }  # fmt: skip

    def llama(self, words_of_type: str) -> dict[str, object]:
        """Return the measurements of a file of a type; the suffix `pure` excludes any other type from the file."""
        words = [self.options.llama, "--imatrix", self.imatrix, "--token-embedding-type", EMBEDDINGS]
        words += ["--output-tensor-type", EMBEDDINGS]
        kind, *pure = words_of_type.split()
        words += ["--pure"] * bool(pure)

        def make(file: Path) -> None:
            subprocess.run(
                [*words, self.source, file, kind], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
            )

        return self.row(f"llama-quantize {words_of_type}", make)

    def ours(self, spec: str) -> dict[str, object]:
        o = self.options
        how = {"context": o.context, "windows": o.calibration_windows, "statistics": self.work / "statistics"}
        return self.row(
            spec, lambda file: quantize(self.source, file, spec, embeddings=EMBEDDINGS, calibrate=o.calibrate, **how)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--llama", required=True, help="llama.cpp's llama-quantize")
    parser.add_argument("--text", required=True)
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--source", choices=(*SOURCES, FILE), default="permuted")
    parser.add_argument("--types", default="Q2_K,Q3_K_S,Q3_K_M,IQ3_S,IQ2_M")
    parser.add_argument(
        "--specs", default="imatrix:q3_k,gptq:q3_k,mix:{bits}@output(gptq:q2_k|gptq:q3_k|gptq:iq4_nl|gptq:q5_0)"
    )
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--calibration-windows", type=int, default=8)
    options = parser.parse_args()
    comparison = Comparison(options)
    specs = options.specs.split(",")

    def show(row: dict[str, object]) -> None:
        kinds = ", ".join(f"{count} {kind}" for kind, count in dict(row["kinds"]).items())  # type: ignore[call-overload]
        print(
            f"| {row['file']} | {row['bits']:.3f} | {float(str(row['bytes'])) / 1e6:.1f} | {row['kl']:.4f} "
            f"± {row['kl_error']:.4f} | {row['same_top']:.3f} | {row['perplexity']:.2f} | {kinds} |",
            flush=True,
        )

    print("| file | bits | MB | KL | same top | perplexity | matrices |\n|---|---|---|---|---|---|---|")
    for spec in specs:
        if "{bits}" not in spec:
            show(comparison.ours(spec))
    for kind in options.types.split(","):
        made = comparison.llama(kind)
        show(made)
        for spec in specs:
            if "{bits}" in spec:
                most = math.floor(float(str(made["bits"])) * 1e4) / 1e4
                show(comparison.ours(spec.format(bits=most)))


if __name__ == "__main__":
    main()
