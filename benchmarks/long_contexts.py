"""Measure memory, and speed along the way, for long prompts.

    python benchmarks/long_contexts.py gemma3-270m qwen-coder-0.5b --lengths 2048,8192,32000

The text is read in steps of the engine's size. At each length, it prints the bytes of the cache, tokens per second of
the whole prompt up to there and of its last 1,024 tokens, and milliseconds of a subsequent step of one row, the median
of several. Lengths must be multiples of the step size; those beyond a model's context are skipped.
"""

from __future__ import annotations

import statistics

import common
import numpy as np

from intact.checkpoints.formats import open_checkpoint
from intact.cli.perplexity import tokenise
from intact.engine.engine import DEFAULT_CHUNK
from intact.executors.base import Executor
from intact.executors.native import NativeExecutor
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.numerics.kv_codecs import CODECS
from intact.numerics.profiles import with_codec
from intact.text import Tokenizer

LAST = 1024


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--lengths", default="2048,8192,32000", metavar="LIST")
    parser.add_argument("--kv", choices=list(CODECS), help="codec of the KV cache")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--steps", type=int, default=9, metavar="N", help="number of timed steps of one row")
    options = parser.parse_args()
    lengths = sorted(map(int, options.lengths.split(",")))
    if wrong := [length for length in lengths if length < LAST or length % DEFAULT_CHUNK]:
        parser.error(f"--lengths: {wrong[0]} is not a multiple of {DEFAULT_CHUNK} from {LAST} on")
    for path in options.models:
        with open_checkpoint(path) as checkpoint:
            program = build_program(checkpoint)
            fitting = [length for length in lengths if length < program.context]
            if not fitting:
                print(
                    f"\n{path.name}: its context of {program.context:,} has no room for {lengths[0]:,} tokens and one"
                )
                continue
            tokens, _ = tokenise(Tokenizer.from_checkpoint(checkpoint), options.text.read_text("utf-8"))
            executor = NativeExecutor(program, with_codec("int8", options.kv), options.threads)
            measure(executor, np.array(tokens[: fitting[-1]], np.int32), fitting, options.steps, path.name)


def measure(executor: Executor, tokens: np.ndarray, lengths: list[int], steps: int, name: str) -> None:
    """Read a text, and print a line at each length."""
    size = executor.page_size
    executor.reserve_pages(-(-(len(tokens) + 1) // size))
    pages = np.arange(-(-(len(tokens) + 1) // size), dtype=np.int32)
    seconds = [0.0]  # up to each step's end
    print(f"\n{name}, {executor.description['tier']}, {executor.description['threads']} threads")
    for start in range(0, len(tokens), DEFAULT_CHUNK):
        part = tokens[start : start + DEFAULT_CHUNK]
        seconds.append(seconds[-1] + common.step_seconds(executor, SequenceChunk(start, part, pages)))
        position = start + len(part)
        if position not in lengths:
            continue
        one = SequenceChunk(position, tokens[:1], pages)
        row = statistics.median(common.step_seconds(executor, one) for _ in range(steps))
        last = seconds[-1] - seconds[-1 - LAST // DEFAULT_CHUNK]
        print(
            f"{position:>7,} tokens  {executor.page_bytes * position / size / 2**20:>7.0f} MiB  "
            f"prompt {position / seconds[-1]:.0f} tokens/s, its last {LAST:,} {LAST / last:.0f}  "
            f"then {1000 * row:.1f} ms a token",
            flush=True,
        )


if __name__ == "__main__":
    main()
