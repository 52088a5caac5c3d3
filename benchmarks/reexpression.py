"""Measure how exactly integer weights represent GGUF's block formats: the table of docs/spec/numerics.md, section 1.

    python benchmarks/reexpression.py MODEL.gguf ...

For every block format in the files, prints the share of blocks whose scale, and whose re-centred minimum, keep every
bit; the root mean square error of a row of weights relative to the row's own, as mean and as worst row; and the same
error if the float values of those rows were converted to int8 and to 4 bits.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.numerics import weights
from intact.numerics.weight_formats import BLOCK_FORMATS

ROWS = 128
"""Number of rows measured per tensor, evenly spread."""


def relative_error(got: NDArray[np.float64], exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square error of each row, relative to the row's root mean square."""
    size = np.sqrt(np.square(exact).sum(axis=1))
    return np.asarray(np.sqrt(np.square(got - exact).sum(axis=1)) / np.where(size == 0, 1, size))


def measure(tensor: Tensor) -> dict[str, NDArray[np.float64]]:
    rows, columns = tensor.shape
    chosen = np.unique(np.linspace(0, rows - 1, min(ROWS, rows)).astype(int))
    data = tensor.data.reshape(rows, -1)[chosen].reshape(-1)
    shape = len(chosen), columns
    exact = weights.decode(tensor.kind, data, shape)
    w = weights.from_blocks(tensor.kind, data, shape)
    if tensor.kind == "MXFP4":
        scale_kept = exact.scale.max(axis=1, keepdims=True) - exact.scale <= 14
        scale = np.ldexp(1.0, exact.scale - 128)
    else:
        scale_kept = w.scale.astype(np.int64) << (w.scale_exp[:, None] + 24) == exact.scale
        scale = np.ldexp(exact.scale.astype(np.float64), -24)
    x = weights.centred(w) * np.repeat(scale, w.block, axis=1)
    result = {"scale": scale_kept.ravel()}
    if w.minimum is not None and w.minimum_exp is not None and exact.minimum is not None:
        result["minimum"] = (w.minimum.astype(np.int64) << (w.minimum_exp[:, None] + 24) == exact.minimum).ravel()
        x = x + np.repeat(np.ldexp(exact.minimum.astype(np.float64), -24), w.block, axis=1)
    result["error"] = relative_error(weights.values(w), x)
    for bits in (8, 4):
        floats = x.astype(np.float32)
        result[f"int{bits}"] = relative_error(weights.values(weights.from_floats(floats, bits)), x)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="GGUF files")
    print("| file | format | tensors | scales kept | minima kept | row error | worst row | as int8 | as 4 bits |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in parser.parse_args().models:
        found: dict[str, list[dict[str, NDArray[np.float64]]]] = defaultdict(list)
        for tensor in open_checkpoint(path).tensors.values():
            if tensor.kind in BLOCK_FORMATS and len(tensor.shape) == 2:
                found[tensor.kind].append(measure(tensor))
        for kind, results in sorted(found.items()):
            columns = {key: np.concatenate([result[key] for result in results]) for key in results[0]}
            minima = f"{columns['minimum'].mean():.2%}" if "minimum" in columns else ""
            error, int8, int4 = columns["error"], columns["int8"].mean(), columns["int4"].mean()
            print(
                f"| {path.stem} | {kind} | {len(results)} | {columns['scale'].mean():.2%} | {minima} "
                f"| {error.mean():.1e} | {error.max():.1e} | {int8:.4f} | {int4:.3f} |"
            )


if __name__ == "__main__":
    main()
