"""Calibration: statistics of every product's inputs on a calibration text, gathered by the engine in integers.

The forward pass is exact, inputs have at most 20 bits after shifting to their product's exponent, and sums are int64.
The same text and model therefore give the same statistics on every machine, regardless of how many windows run
concurrently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import FormatError, ParameterError
from intact.checkpoints.formats.safetensors import Stored, read_metadata, read_safetensors, write_safetensors
from intact.executors.native import NativeExecutor
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Linear
from intact.models.program import Program
from intact.numerics.activations import Quantized
from intact.numerics.fixed import shift
from intact.quantizing.quantizers.base import InputStatistics

BITS: Final = 20
"""Bits of an input after its shift."""
ROWS: Final = 1 << 12
"""Rows per partial sum: float64 adds this many products of 2 x 20 bits exactly, in any order."""
MEMORY: Final = 4 << 30
"""Maximum bytes of second moments gathered in one pass over the text."""


@dataclass(frozen=True)
class Calibration:
    """A calibration text: token ids, read in non-overlapping windows."""

    tokens: tuple[int, ...]
    context: int = 512
    windows: int = 32

    def __post_init__(self) -> None:
        if self.context < 4 or self.windows < 1:
            raise ParameterError(
                f"got {self.windows} windows of {self.context} tokens; expected at least 1 window of at least 4 tokens"
            )
        if len(self.tokens) < self.context * self.windows:
            raise ParameterError(
                f"the text has {len(self.tokens)} tokens; {self.windows} windows of {self.context} need "
                f"{self.context * self.windows}; use a longer text or fewer windows"
            )

    def chunks(self) -> Iterator[NDArray[np.int32]]:
        """Yield the windows."""
        for start in range(0, self.context * self.windows, self.context):
            yield np.array(self.tokens[start : start + self.context], np.int32)

    @property
    def digest(self) -> str:
        """SHA-256 of the window length and the tokens that are read."""
        used = np.array(self.tokens[: self.context * self.windows], "<i4")
        return sha256(f"{self.context}\n".encode() + used.tobytes()).hexdigest()


def products(program: Program) -> dict[int, tuple[str, ...]]:
    """Map each linear operation's index to its matrices, which all read the same input."""
    return {
        index: tuple(target.weight for target in op.targets)
        for index, op in enumerate(program.ops)
        if isinstance(op, Linear)
    }


class Collector:
    """Run a model on the windows of a text and collect the inputs of its products.

    Parameters
    ----------
    program : Program
    threads : int, optional
        The number of threads never affects the results.
    """

    def __init__(self, program: Program, threads: int | None = None) -> None:
        self.program = program
        self.executor = NativeExecutor(program, "int8", threads)

    def inputs(self, text: Calibration, ops: Sequence[int]) -> Iterator[list[Quantized]]:
        """Yield the inputs of the given products, window by window."""
        pages = -(-text.context // self.executor.page_size)
        self.executor.reserve_pages(pages)
        table = np.arange(pages, dtype=np.int32)
        self.executor.recording = True
        try:
            for tokens in text.chunks():
                # after the last attention, only rows with requested logits are computed, so request all of them
                self.executor.step([SequenceChunk(0, tokens, table)], np.arange(len(tokens), dtype=np.int64))
                yield [self.executor.recorded(op) for op in ops]
        finally:
            self.executor.recording = False

    def exponents(self, text: Calibration, ops: Sequence[int]) -> list[int]:
        """Return an exponent for each product, such that its largest input has 20 bits."""
        tops = [-(1 << 30)] * len(ops)
        for found in self.inputs(text, ops):
            for i, a in enumerate(found):
                size = np.abs(_integers(a)).max(axis=1)
                bits = np.frexp(size.astype(np.float64))[1] + a.exponent
                tops[i] = max(tops[i], int(bits[size > 0].max(initial=tops[i])))
        return [max(top, -200) - BITS for top in tops]

    def collect(
        self, text: Calibration, ops: Sequence[int], advance: Callable[[], None] = lambda: None
    ) -> dict[int, InputStatistics]:
        """Gather the statistics of the given products; `advance` is called after each window of each pass."""
        exponents = self.exponents(text, ops)
        sums: dict[int, tuple[NDArray[np.int64], ...]] = {}
        for found in self.inputs(text, ops):
            for i, (op, a) in enumerate(zip(ops, found, strict=True)):
                x = shift(_integers(a), (exponents[i] - a.exponent.astype(np.int64))[:, None])
                sizes = np.abs(x)
                new = _second_moments(x), sizes.max(axis=0), sizes.sum(axis=0)
                if op in sums:
                    second, largest, total = sums[op]
                    second += new[0]
                    sums[op] = second, np.maximum(largest, new[1]), total + new[2]
                else:
                    sums[op] = new
            advance()
        count = text.context * text.windows
        return {op: InputStatistics(count, exponents[i], *sums[op]) for i, op in enumerate(ops)}


def _integers(a: Quantized) -> NDArray[np.int64]:
    return a.codes.astype(np.int64) * np.repeat(a.scale.astype(np.int64), 32, axis=1)


def _second_moments(x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the exact sum of x xT over rows of at most 20 bits, in chunks whose sums are exact in float64."""
    total = np.zeros((x.shape[1], x.shape[1]), np.int64)
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS].astype(np.float64)
        total += (rows.T @ rows).astype(np.int64)
    return total


def passes(program: Program) -> list[list[int]]:
    """Split the products into groups whose second moments fit `MEMORY`."""
    groups: list[list[int]] = [[]]
    used = 0
    for op in products(program):
        linear = program.ops[op]
        assert isinstance(linear, Linear)
        size = 8 * program.buffers[linear.source].width ** 2
        if groups[-1] and used + size > MEMORY:
            groups.append([])
            used = 0
        groups[-1].append(op)
        used += size
    return groups


def gather(
    program: Program,
    text: Calibration,
    folder: Path,
    model: str,
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Path:
    """Gather all statistics of a model into a file named after the model and text, or reuse an existing one.

    Parameters
    ----------
    model : str
        The digest of the model's weights.
    """
    path = folder / f"{sha256(f'{model} {text.digest}'.encode()).hexdigest()[:32]}.safetensors"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    collector, found = Collector(program, threads), dict[int, InputStatistics]()
    for group in passes(program):
        found |= collector.collect(text, group, advance)
    write_statistics(path, {str(op): one for op, one in found.items()}, {"model": model, "text": text.digest})
    return path


def write_statistics(path: Path, found: Mapping[str, InputStatistics], about: Mapping[str, str]) -> None:
    """Write statistics as safetensors; second moments are stored as their upper triangle, row by row."""
    stored, data = [], {}
    for name, one in found.items():
        upper = one.second[np.triu_indices(len(one.second))]
        for part, value in (("second", upper), ("largest", one.largest), ("total", one.total)):
            data[f"{name}.{part}"] = value
            stored.append(Stored(f"{name}.{part}", "I64", value.shape, value.nbytes))
    shapes = {name: [one.rows, one.exponent] for name, one in found.items()}
    write_safetensors(
        path, stored, lambda name: data[name].astype("<i8").tobytes(), {**about, "inputs": json.dumps(shapes)}
    )


def read_statistics(path: Path) -> Callable[[int], InputStatistics]:
    """Return a function that reads the statistics of a product, given the index of its operation.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    tensors = read_safetensors(path)
    about = json.loads(read_metadata(path).get("inputs", "{}"))

    def read(op: int) -> InputStatistics:
        try:
            rows, exponent = about[str(op)]
            upper, largest, total = (
                tensors[f"{op}.{part}"].data.view("<i8") for part in ("second", "largest", "total")
            )
            second = np.zeros((len(largest), len(largest)), np.int64)
            second[np.triu_indices(len(largest))] = upper
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(
                f"{path} contains no statistics for product {op}; delete the file to gather them again"
            ) from error
        return InputStatistics(rows, exponent, second + np.triu(second, 1).T, largest.copy(), total=total.copy())

    return read
