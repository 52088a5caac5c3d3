"""Measure the cost and savings of KV cache codecs: the table of docs/spec/kv_codecs.md.

    python benchmarks/kv_codecs.py smollm2-135m --contexts 512:8,2048:4

For each context length, it uses windows of the text and prints the mean of KL(no codec || codec) in nats over their
second halves, with its 95% interval over windows; how often the most likely token is unchanged; and bytes per position.
Then, in alternating turns: milliseconds of a step of one row after the window, medians with minimum and maximum; and
the memory of 64 sequences of 7,168 positions after a prompt of 1,024. The weights and all arithmetic except the cache's
are the same. Lines are printed as soon as a context is done.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import NamedTuple

import common
import numpy as np
from numpy.typing import NDArray

from intact._base.exact import mean
from intact.checkpoints.formats import open_checkpoint
from intact.cli.perplexity import tokenise
from intact.executors.native import NativeExecutor
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.numerics.kv_codecs import CODECS
from intact.numerics.profiles import with_codec
from intact.quantizing.calibration import Calibration
from intact.quantizing.divergence import compare
from intact.quantizing.logits import scored
from intact.stats.intervals import AMOUNTS, clustered
from intact.text import Tokenizer

MANY = 1024 + 64 * 7168
"""Number of positions of many sequences after one prompt."""


class Setting(NamedTuple):
    """A context length and the number of windows of it."""

    context: int
    windows: int

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Parse CONTEXT:WINDOWS."""
        context, _, windows = text.partition(":")
        return cls(int(context), int(windows or 4))


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--contexts",
        default="512:8,2048:4",
        metavar="LIST",
        help="context lengths and numbers of windows: tokens:windows, ...",
    )
    parser.add_argument("--codecs", type=common.names_of(CODECS), default=list(CODECS), metavar="LIST")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="score every N-th row of the second half")
    parser.add_argument("--steps", type=int, default=15, metavar="N", help="number of timed steps of one row")
    options = parser.parse_args()
    for path in options.models:
        with open_checkpoint(path) as checkpoint:
            program = build_program(checkpoint)
            tokens, _ = tokenise(Tokenizer.from_checkpoint(checkpoint), options.text.read_text("utf-8"))
            for setting in map(Setting.parse, options.contexts.split(",")):
                measure(path, program, Calibration(tuple(tokens), *setting), options)


def measure(path: Path, program: Program, text: Calibration, options: argparse.Namespace) -> None:
    """Measure all codecs at one context length, and print them."""
    profiles = ["int8", *(with_codec("int8", codec) for codec in options.codecs)]
    executors = {profile: NativeExecutor(program, profile, options.threads) for profile in profiles}
    divergences: dict[str, list[float]] = {profile: [] for profile in profiles[1:]}
    same: dict[str, list[float]] = {profile: [] for profile in profiles[1:]}
    rows = scored(text)[:: options.every]
    for tokens in text.chunks():
        following = tokens[rows + 1].astype(np.int64)
        plain = logits(executors["int8"], tokens, rows).copy()
        for profile in profiles[1:]:
            found = compare(plain, logits(executors[profile], tokens, rows), following)
            divergences[profile].append(mean(found.kl.tolist()))
            same[profile].append(float(found.same.mean()))
    times = {profile: list[float]() for profile in profiles}
    for turn in range(options.steps + 1):
        for profile, executor in executors.items():
            seconds = one_row(executor, text.context)
            times[profile] += [1000 * seconds] * (turn > 0)
    spans = {profile: f"{statistics.median(t):.2f} ({min(t):.2f} to {max(t):.2f})" for profile, t in times.items()}
    size = {profile: executor.page_bytes // executor.page_size for profile, executor in executors.items()}
    print(f"\n{path.name}, {text.windows} windows of {text.context} of {options.text.name}")
    print(
        f"no codec: {size['int8']:,} bytes a position, {spans['int8']} ms a token behind {text.context}, "
        f"64 texts {size['int8'] * MANY / 2**30:.2f} GiB"
    )
    for profile in profiles[1:]:
        row = clustered(np.array(divergences[profile])[:, None], support=AMOUNTS)
        less = size["int8"] / size[profile]
        print(
            f"{profile:<16}{size[profile]:>8,} bytes ({less:.2f} times fewer)  "
            f"KL {row.estimate:.4f} [{row.low:.4f}, {row.high:.4f}]  same top-1 {mean(same[profile]):.1%}  "
            f"{spans[profile]} ms  {size[profile] * MANY / 2**30:.2f} GiB",
            flush=True,
        )


def logits(executor: NativeExecutor, tokens: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the logits of some rows of a window, valid until the executor's next step."""
    pages = -(-len(tokens) // executor.page_size)
    executor.reserve_pages(pages)
    return executor.step([SequenceChunk(0, tokens, np.arange(pages, dtype=np.int32))], rows)


def one_row(executor: NativeExecutor, position: int) -> float:
    """Return the seconds of a step of one row at a position, after a window that has been run."""
    pages = position // executor.page_size + 1
    executor.reserve_pages(pages)
    chunk = SequenceChunk(position, np.array([position % 256], np.int32), np.arange(pages, dtype=np.int32))
    return common.step_seconds(executor, chunk)


if __name__ == "__main__":
    main()
