"""Compare products by table look-up and by bit counting with the engine's multiplying kernel, on one core.

    python benchmarks/lookup.py
    python benchmarks/lookup.py --check
    python benchmarks/lookup.py --patterns smollm2-135m

`lookup.cpp` is compiled for this machine and first compared with NumPy's integers, for weights of 1 to 4 bits: look-up
(T-MAC's tables of four activations, exact here), counting (bit planes) and multiplying (as in the engine, but one bit
is stored in one bit, and the third bit of three where a shift finds it). Then each form takes turns with the engine's
own kernel on the same matrix and rows, including scales of 32 inputs; that the engine gives the same results, rescaled,
is checked too. The engine stores one bit in two. Times are the thread's own processor time; "x engine" is the median
over turns of the engine's time divided by the form's, with minimum and maximum. "rounded" looks up the upper 5 of an
entry's 10 bits and is inexact: T-MAC's one-byte tables would save no more.

--patterns counts how often groups of four activations repeat the same bits (SAIL), on a model's first Linears.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import machine, model_path, text_path

from intact._native import kernels, pack_integers

SOURCE = Path(__file__).with_name("lookup.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-tree-ter", "-fno-tree-reassoc")
SHAPES = ("576x1536", "2048x8192", "4096x32768")
FORMS = {"look-up": 0, "counting": 1, "multiplying": 2, "rounded": 3}
EXACT = ("look-up", "counting", "multiplying")
HUGE = 1 << 21
BLOCK, PANEL, FRACTION = 32, {"look-up": 32, "counting": 16, "multiplying": 16, "rounded": 32}, 16


class Form(NamedTuple):
    """The interpretation of the codes of a matrix by the forms and by the engine."""

    zero: int
    step: int
    engine_bits: int


BITS = {1: Form(1, 2, 2), 2: Form(1, 1, 2), 3: Form(4, 1, 3), 4: Form(8, 1, 4)}


class Matrix(NamedTuple):
    """Codes [outputs][inputs] of `bits` bits and scales [outputs][blocks of 32]."""

    bits: int
    codes: np.ndarray
    scales: np.ndarray

    @classmethod
    def draw(cls, bits: int, inputs: int, outputs: int, rng: np.random.Generator) -> Matrix:
        codes = rng.integers(0, 1 << bits, (outputs, -(-inputs // BLOCK) * BLOCK), np.uint8)
        return cls(bits, codes, rng.integers(-32767, 32768, (outputs, codes.shape[1] // BLOCK)).astype(np.int16))

    def values(self) -> np.ndarray:
        form = BITS[self.bits]
        return form.step * self.codes.astype(np.int64) - form.zero

    def engine(self) -> Any:
        form = BITS[self.bits]
        exponents = np.full(len(self.codes), -23, np.int32)
        return pack_integers(
            self.codes * np.uint8(form.step), self.codes.shape[1], form.engine_bits, BLOCK, form.zero, 0, None,
            self.scales, exponents, None, None,
        )  # fmt: skip


def product(w: Matrix, codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Compute the sums S of section 4 of docs/spec/numerics.md in NumPy, [rows][outputs]."""
    outputs, rows = len(w.codes), len(codes)
    h = np.einsum(
        "mbk,nbk->mnb", codes.reshape(rows, -1, BLOCK).astype(np.int64), w.values().reshape(outputs, -1, BLOCK)
    )
    c = (w.scales[None].astype(np.int64) * scales[:, None] + (1 << 14)) >> 15
    groups = np.pad(h * c, ((0, 0), (0, 0), (0, -h.shape[2] % 8))).reshape(rows, outputs, -1, 8).sum(axis=3)
    return ((groups + 64) >> 7).sum(axis=2)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def numbers(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]


class Library:
    """The compiled lookup.cpp."""

    def __init__(self, folder: Path, flags: tuple[str, ...] = FLAGS, vectors: bool = True) -> None:
        compiler = shutil.which("g++")
        if compiler is None:
            raise FileNotFoundError("found no g++ on PATH to compile lookup.cpp")
        made = folder / "lookup.so"
        subprocess.run([compiler, *flags, "-shared", "-fPIC", str(SOURCE), "-o", str(made)], check=True)
        self.calls = ctypes.CDLL(str(made))
        self.calls.weight_bytes.restype = self.calls.scratch_bytes.restype = ctypes.c_int64
        self.vectors = vectors and bool(self.calls.has_vectors())

    def scalar(self, form: int, w: Matrix, codes: np.ndarray, scales: np.ndarray, bits: int = 8) -> np.ndarray:
        """Compute the product in a scalar form: 0 looks up, 1 counts, 2 counts in the bipolar form."""
        out = np.zeros((len(codes), len(w.codes)), np.int32)
        sizes = numbers(len(w.codes), codes.shape[1] // BLOCK, len(codes))
        self.calls.product_scalar(
            form, w.bits, BITS[w.bits].zero, *sizes, bits, *map(pointer, (w.codes, w.scales, codes, scales, out))
        )
        return out

    def prepare(self, form: str, w: Matrix, codes: np.ndarray, scales: np.ndarray, bits: int = 8) -> Run:
        return Run(self, form, w, codes, scales, bits)


class Run:
    """A vectorised product with a packed weight."""

    def __init__(
        self, library: Library, form: str, w: Matrix, codes: np.ndarray, scales: np.ndarray, bits: int = 8
    ) -> None:
        number, blocks = FORMS[form], codes.shape[1] // BLOCK
        self.calls, self.outputs = library.calls, len(w.codes)
        self.nbytes = self.calls.weight_bytes(number, w.bits, *numbers(self.outputs, blocks))
        self.packed = aligned(self.nbytes)
        self.calls.pack_weight(
            number, w.bits, *numbers(self.outputs, blocks), *map(pointer, (w.codes, w.scales, self.packed))
        )
        self.out = np.zeros((len(codes), -(-self.outputs // PANEL[form]) * PANEL[form]), np.int32)
        self.kept = codes, scales, aligned(self.calls.scratch_bytes(*numbers(len(codes), blocks)))
        arrays = map(pointer, (self.packed, codes, scales, self.out, self.kept[2]))
        sizes = numbers(self.outputs, blocks, len(codes))
        self.arguments = (number, w.bits, BITS[w.bits].zero, *sizes, bits, *arrays)

    def __call__(self, times: int = 1) -> np.ndarray:
        if not self.calls.product_vectors(*self.arguments, times):
            raise ValueError("this product was not compiled: lookup.cpp does not support this processor's vectors")
        return self.out[:, : self.outputs]


def aligned(size: int) -> np.ndarray:
    """Allocate bytes aligned to a cache line; large arrays use huge pages where available, like the engine's."""
    room = mmap.mmap(-1, size + HUGE)
    if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        room.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(room, np.uint8)
    skip = -whole.ctypes.data % HUGE
    return whole[skip : skip + size]


def check(library: Library) -> int:
    """Compare all forms with NumPy on random inputs; return the number of equal products."""
    rng, equal = np.random.default_rng(0), 0

    def compare(what: str, got: np.ndarray, expected: np.ndarray) -> None:
        nonlocal equal
        if not np.array_equal(got, expected):
            raise AssertionError(f"{what}: {np.sum(got != expected)} of {got.size} results differ from NumPy's")
        equal += 1

    for bits in BITS:
        for inputs, outputs, rows in ((32, 8, 1), (64, 40, 3), (1120, 72, 5), (576, 200, 4), (544, 136, 1)):
            w = Matrix.draw(bits, inputs, outputs, rng)
            scales = rng.integers(1, 8192, (rows, inputs // BLOCK)).astype(np.int16)
            for activation_bits in range(1, 9):
                least, most = -(1 << activation_bits >> 1), (1 << activation_bits >> 1) - 1
                codes = rng.integers(max(least, -127), most + 1, (rows, inputs)).astype(np.int8)
                if activation_bits == 8:
                    codes[0] = np.where(codes[0] < 0, -127, 127)  # the largest sums
                what = f"{bits} by {activation_bits} bits, {rows} x {inputs} x {outputs}"
                expected = product(w, codes, scales)
                for form in range(3):
                    compare(f"scalar {form}, {what}", library.scalar(form, w, codes, scales, activation_bits), expected)
                if library.vectors:
                    for form in EXACT:
                        run = library.prepare(form, w, codes, scales, activation_bits)
                        compare(f"{form}, {what}", run(), expected)
        if library.vectors:
            check_block_sums(library, bits, rng, compare)
    return equal


def check_block_sums(library: Library, bits: int, rng: np.random.Generator, compare: Callable[..., None]) -> None:
    """Compare the sums of single blocks, which are the results if the scale product is 2^14 by 256 there and 0
    elsewhere.
    """
    w = Matrix.draw(bits, 160, 64, rng)
    codes = rng.integers(-127, 128, (2, 160)).astype(np.int8)
    scales = np.full((2, 5), 256, np.int16)
    for b in range(5):
        one = w._replace(scales=np.where(np.arange(5) == b, 1 << 14, np.zeros_like(w.scales)).astype(np.int16))
        inputs = slice(b * BLOCK, (b + 1) * BLOCK)
        expected = codes[:, inputs].astype(np.int64) @ w.values()[:, inputs].T
        for form in EXACT:
            compare(f"{form}, block {b} of {bits} bits", library.prepare(form, one, codes, scales)(), expected)


class Result(NamedTuple):
    """A form's nanoseconds per row, GB/s of weights, and the engine's time over its own: median, minimum, maximum."""

    form: str
    nanoseconds: float
    gigabytes: float
    times: tuple[float, float, float]


def measure(library: Library, w: Matrix, rows: int, turns: int, least: float) -> list[Result]:
    """Time each form and the engine in turns, in runs of at least `least` seconds each."""
    tier = kernels.tiers()[0]
    rng, outputs = np.random.default_rng(rows), len(w.codes)
    x = kernels.quantize(tier, rng.normal(0, 1 << 17, (rows, w.codes.shape[1])).astype(np.int32), FRACTION)
    codes, scales = x.codes, x.scale.astype(np.int16)
    weight, out = w.engine(), np.zeros((rows, outputs), np.int32)

    def engine(times: int) -> None:
        kernels.matmul(tier, weight, x, out, FRACTION, None, None, None, times)

    runs: dict[str, Callable[[int], object]] = {"engine": engine}
    prepared = {form: library.prepare(form, w, codes, scales) for form in FORMS}
    runs |= prepared
    engine(1)
    for form in EXACT:
        sums = prepared[form](1)
        rescaled = [rounded(s, 23 - 22 - FRACTION - int(e)) for s, e in zip(sums, x.exponent, strict=True)]
        if not np.array_equal(out, rescaled):
            raise AssertionError(f"{form}: its rescaled sums differ from the engine's results")
    counts = {name: max(1, int(least / once(run))) for name, run in runs.items()}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            began = time.thread_time()
            run(counts[name])
            taken[name].append((time.thread_time() - began) / counts[name])
    sizes = {"engine": weight.nbytes} | {form: run.nbytes for form, run in prepared.items()}
    found = []
    for name, times in taken.items():
        middle = statistics.median(times)
        ratios = [own / other for own, other in zip(taken["engine"], times, strict=True)]
        spread = statistics.median(ratios), min(ratios), max(ratios)
        found.append(Result(name, middle / rows * 1e9, sizes[name] / middle / 1e9, spread))
    return found


def once(run: Callable[[int], object]) -> float:
    """Return the seconds of a run after a warm-up."""
    run(1)
    began = time.thread_time()
    run(2)
    return max((time.thread_time() - began) / 2, 1e-7)


def rounded(sums: np.ndarray, right: int) -> np.ndarray:
    """Return sums / 2^right, rounded half up."""
    wide = sums.astype(np.int64)
    return wide << -right if right <= 0 else (wide + (1 << (right - 1))) >> right


class Patterns(NamedTuple):
    """The shares of 4-bit patterns (one bit of each of four activations) that occurred before, and that are 0."""

    zero: float
    within: float
    tokens4: float
    tokens16: float


def repeats(codes: np.ndarray) -> Patterns:
    """Return the shares over rows [tokens][inputs] of int8: within a row's group of four, and over 4 and 16 rows."""
    bits = codes.view(np.uint8)[:, :, None] >> np.arange(8, dtype=np.uint8) & 1
    groups = bits.reshape(len(codes), -1, 4, 8)
    patterns = (groups << np.arange(4, dtype=np.uint8)[:, None]).sum(axis=2, dtype=np.uint8)  # [token][group][bit]
    seen = np.uint16(1) << patterns.astype(np.uint16)

    def share(rows: int) -> float:
        count = len(seen) // rows * rows
        batches = seen[:count].reshape(-1, rows, *seen.shape[1:]).swapaxes(1, 2)
        sets = np.bitwise_or.reduce(batches.reshape(*batches.shape[:2], -1), axis=2)
        return 1 - int(np.unpackbits(sets.view(np.uint8)).sum()) / (sets.size * 8 * rows)

    return Patterns(float((patterns == 0).mean()), share(1), share(4), share(16))


def inputs_of(model: Path, text: Path, tokens: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the int8 input codes of each kind of Linear, all layers together, [tokens][inputs]."""
    from common import tokenizer_of

    from intact.checkpoints.formats import open_checkpoint
    from intact.models import build_program
    from intact.quantizing import Calibration
    from intact.quantizing.calibration import Collector, products

    with open_checkpoint(model) as checkpoint:
        program = build_program(checkpoint)
        ids = tokenizer_of(model).encode(text.read_text("utf-8")[: 40 * tokens])[:tokens]
        ops = products(program)
        window = next(Collector(program).inputs(Calibration(tuple(ids), tokens, 1), list(ops)))
        kinds: dict[str, list[np.ndarray]] = {}
        for names, found in zip(ops.values(), window, strict=True):
            kinds.setdefault(names[0].split(".")[-2], []).append(found.codes)
    for kind, rows in kinds.items():
        yield kind, np.concatenate(rows, axis=1)


def print_patterns(model: Path, text: Path, tokens: int) -> None:
    rng = np.random.default_rng(0)
    print("| inputs of | zero | repeated in a row | over 4 rows | over 16 rows |\n|---|---|---|---|---|")
    drawn = "uniform bits", rng.integers(-128, 128, (tokens, 1 << 14)).astype(np.int8)
    for name, codes in [*inputs_of(model, text, tokens), drawn]:
        print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in repeats(codes)) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with NumPy and exit")
    parser.add_argument("--patterns", type=model_path, metavar="MODEL", help="count patterns and exit")
    parser.add_argument("--text", type=text_path, default="wikitext2", help="text that the model reads for --patterns")
    parser.add_argument("--tokens", type=int, default=100, help="number of tokens of this text")
    parser.add_argument(
        "--shapes",
        nargs="+",
        default=list(SHAPES),
        help="matrix shapes: inputs x outputs; 4096x32768 with one row only",
    )
    parser.add_argument("--bits", nargs="+", type=int, choices=BITS, default=list(BITS))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.01, help="minimum seconds per turn")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.patterns:
        return print_patterns(options.patterns, options.text, options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder))
        print(f"{check(library)} products equal NumPy's", file=sys.stderr)
        if not options.check:
            report(library, options)
    return None


def report(library: Library, options: argparse.Namespace) -> None:
    found = []
    if not options.json:
        print("| bits | inputs x outputs | rows | form | ns a row | GB/s | x engine |\n|---|---|---|---|---|---|---|")
    for shape in options.shapes:
        inputs, outputs = map(int, shape.split("x"))
        for bits in options.bits:
            w = Matrix.draw(bits, inputs, outputs, np.random.default_rng(bits))
            for rows in options.rows if inputs * outputs < 1 << 26 else [1]:
                for r in measure(library, w, rows, options.turns, options.seconds):
                    found.append({"bits": bits, "inputs": inputs, "outputs": outputs, "rows": rows} | r._asdict())
                    middle, least, most = r.times
                    line = f"| {bits} | {shape} | {rows} | {r.form} | {r.nanoseconds:,.0f} | {r.gigabytes:.1f} |"
                    if not options.json:
                        print(f"{line} {middle:.2f} ({least:.2f} to {most:.2f}) |", flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "tier": kernels.tiers()[0], "results": found}))


if __name__ == "__main__":
    main()
