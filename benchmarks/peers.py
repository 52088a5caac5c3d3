"""Compare speed with llama.cpp, OpenVINO GenAI and Transformers: the same work and file, alternating, in one run.

    python benchmarks/peers.py MODEL... [--sides llama,openvino] [--files q4_0] [--only ROW,ROW] [--plot speed.png]
    python benchmarks/peers.py llama-8b.gguf --files shipped --apart    (a file by intact bench --shape llama-8b --gguf)

Rows: a prompt of 512 tokens until its first new token is known; one greedy answer of 64 tokens after a prompt of 64,
excluding the prompt; 8 and 64 samples of one prompt, with 128 tokens after 512 and with 32 after 64: new tokens over
the total time, including the prompt, never cut short by an end token. Two tables: every matrix as Q4_0 from llama.cpp's
own quantiser, the type for which its kernels are fastest; and the files as shipped.

Each program runs in its own process, and they take turns, so none computes while another is measured, and all see the
same variations of the machine's speed. llama.cpp runs with the settings that were fastest for the same row in a short
run before. Every run reads another piece of wikitext-2, so no prompt cache can help. Printed are medians with minimum
and maximum. A row is repeated --repeats times; a side that would need more than --patience seconds for that runs it
less often, at least twice.

With `--apart`, only one program is in memory at a time, for models that fit in memory only once: it is started for each
repetition, and runs every row once on few tokens before measuring.

On a shared machine, `--cpu` counts processor seconds of one thread per side instead of wall-clock time (intact and
llama.cpp only).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import SHORT, add_cache, machine, names_of, parser, requantised
from peers_report import plot, report, summary
from peers_worker import Worker

SIDES = {
    "intact": "intact",
    "llama": "llama.cpp",
    "openvino": "OpenVINO GenAI",
    "transformers": "Transformers",
}
REST = 0.2
"""Seconds between two sides, so that threads that keep spinning after their work go to sleep."""


class Row(NamedTuple):
    """A line of the tables; `asked`: the required speed-up over llama.cpp, and the goal, by a model's short name."""

    name: str
    work: str
    n: int
    prompt: int
    answer: int
    asked: dict[str, tuple[float, float]]

    @property
    def title(self) -> str:
        if self.work == "prompt":
            return f"prompt of {self.prompt}"
        if self.work == "stream":
            return "one stream, greedy"
        return f"{self.n} samples of a prompt of {self.prompt}, {self.answer} tokens each"

    def call(self, tokens: list[int], answer: int = 0) -> list[Any]:
        """Return the arguments of a side's method."""
        count = answer or self.answer
        return {"prompt": [tokens], "stream": [tokens, count], "samples": [tokens, self.n, count]}[self.work]


SMALL, LARGE = "smollm2-135m", "qwen-coder-1.5b"
ROWS = (
    Row("prompt", "prompt", 1, 512, 1, {SMALL: (2.5, 3.5), LARGE: (2.0, 2.7)}),
    Row("stream", "stream", 1, 64, 64, {SMALL: (1.4, 1.8), LARGE: (1.15, 1.4)}),
    Row("8x128", "samples", 8, 512, 128, {SMALL: (4.0, 6.0), LARGE: (2.5, 3.5)}),
    Row("64x128", "samples", 64, 512, 128, {SMALL: (6.0, 9.0), LARGE: (2.5, 3.5)}),
    Row("8x32", "samples", 8, 64, 32, {SMALL: (2.0, 3.0), LARGE: (2.3, 3.3)}),
    Row("64x32", "samples", 64, 64, 32, {SMALL: (3.0, 4.0), LARGE: (2.2, 2.8)}),
)
FILES = {"q4_0": "pure Q4_0", "shipped": "as shipped"}


class Text:
    """Disjoint pieces of the text's tokens."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens, self.given = tokens, 0

    def piece(self, count: int) -> list[int]:
        piece = self.tokens[self.given : self.given + count]
        self.given += count
        if len(piece) < count:
            raise SystemExit("the text is too short for this many repeats: give a longer --text")
        return piece


def open_sides(path: Path, sides: Sequence[str], args: argparse.Namespace) -> dict[str, Worker]:
    """Start a worker per side; leave out a side that cannot run here, and print the reason. intact must run."""
    workers = {}
    for side in sides:
        worker = Worker(side, path, "cpu" if args.cpu else "wall", 1 if args.cpu else args.threads)
        if "error" not in worker.about:
            workers[side] = worker
            continue
        worker.close()
        if side == "intact":
            raise SystemExit(f"{path}: {worker.about['error']}")
        print(f"{path.name}: without {SIDES[side]}: {worker.about['error']}", file=sys.stderr, flush=True)
    return workers


def tune(llama: Worker, rows: list[Row], text: Text, args: argparse.Namespace) -> dict[str, Any]:
    """Let llama.cpp find its fastest settings for every row, on fewer new tokens where a few suffice; return them."""
    for row in rows:
        tokens = text.piece(row.prompt)
        llama("tune", row.name, row.work, tokens, row.n, row.answer, min(row.answer, args.tuning), args.tries)
    llama.about["settings"] = llama("settings")
    found: dict[str, Any] = llama("chosen_settings")
    return found


def turns(args: argparse.Namespace) -> list[tuple[list[str], list[int]]]:
    """Return the groups of sides that are in memory together, with their repetitions; number 0 warms up."""
    if not args.apart:
        return [(args.sides, list(range(args.repeats + 1)))]
    return [([side], [0, repeat]) for repeat in range(1, args.repeats + 1) for side in args.sides]


def measure(path: Path, kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure all rows of a file on all sides."""
    file = path if kind == "shipped" else requantised(path, args.cache, "q4_0")
    in_turn, text = turns(args), Text([])
    needed = sum(row.prompt for row in args.rows) * (1 + sum(len(repeats) for _, repeats in in_turn)) + 64
    rates: dict[str, dict[str, list[dict[str, float]]]] = {row.name: {} for row in args.rows}
    about: dict[str, Any] = {}
    settings: dict[str, Any] = {}  # llama.cpp's
    for sides, repeats in in_turn:
        if args.apart:
            print(f"{file.name}: {SIDES[sides[0]]}, {repeats[-1]} of {args.repeats}", file=sys.stderr, flush=True)
        workers = open_sides(file, sides, args)
        try:
            if "intact" in workers and not text.tokens:
                text = Text(workers["intact"]("tokens", str(args.text), needed))
            if "llama" in workers and not settings:
                settings = tune(workers["llama"], args.rows, text, args)
            elif "llama" in workers:
                workers["llama"]("choose", settings)
            for repeat in repeats:
                for row in args.rows:
                    run_row(row, repeat, workers, text, rates[row.name], args)
        finally:
            for worker in workers.values():
                worker.close()
        about = {side: worker.about for side, worker in workers.items()} | about
    short = next((name for name, known in SHORT.items() if known == path.name), "")
    result: dict[str, Any] = {"model": short or path.stem, "file": file.name, "files": kind}
    result |= {"file_bytes": file.stat().st_size, "sides": about}
    result["rows"] = [
        {"name": row.name, "title": row.title, "n": row.n, "answer": row.answer}
        | {"asked": row.asked.get(short) if kind == "q4_0" else None}
        | summary(rates[row.name])
        for row in args.rows
    ]
    return result


def run_row(
    row: Row,
    repeat: int,
    workers: dict[str, Worker],
    text: Text,
    found: dict[str, list[dict[str, float]]],
    args: argparse.Namespace,
) -> None:
    """Run one repetition of a row on each side; the first one is a warm-up on few new tokens and does not count."""
    tokens = text.piece(row.prompt)
    for side, worker in workers.items():
        runs = found.setdefault(side, [])
        if repeat > 2 and sum(run["seconds"] for run in runs) * (1 + 1 / len(runs)) > args.patience:
            continue
        time.sleep(REST)
        named = [row.name] if side == "llama" else []
        run = worker(row.work, *row.call(tokens, 0 if repeat else min(4, row.answer)), *named)
        if repeat:
            runs.append({key: run[key] for key in ("tokens", "seconds", "first") if key in run})
        if args.progress:
            rate = run["tokens"] / run["seconds"]
            print(f"  {repeat} {row.title}, {SIDES[side]}: {rate:.1f}", file=sys.stderr, flush=True)


def main() -> None:
    rows = {row.name: row for row in ROWS}
    p = parser(__doc__)
    p.add_argument("--sides", type=names_of(SIDES), default="intact,llama", help=f"of {','.join(SIDES)} (default: two)")
    p.add_argument("--files", type=names_of(FILES), default="q4_0,shipped", help="q4_0, shipped (default: both)")
    p.add_argument("--only", type=names_of(rows), default=",".join(rows), help=f"rows of {','.join(rows)}")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument(
        "--patience", type=float, default=25, help="seconds per side and row beyond which it is repeated less"
    )
    p.add_argument(
        "--apart", action="store_true", help="keep one program in memory at a time, started for each repetition"
    )
    p.add_argument("--quick", action="store_true", help="test run: prompts and answers an eighth as long, once")
    p.add_argument("--tries", type=int, default=2, help="number of trials of each llama.cpp setting")
    p.add_argument("--tuning", type=int, default=16, help="new tokens per trial")
    p.add_argument("--threads", type=int, default=0, help="threads per side (default: all cores)")
    p.add_argument("--cpu", action="store_true", help="count processor seconds of one thread per side")
    add_cache(p)
    p.add_argument("--plot", type=Path, metavar="FILE", help="save a plot")
    p.add_argument("--json", action="store_true")
    p.add_argument("--progress", action="store_true", help="print every measurement")
    args = p.parse_args()
    if args.repeats < 1 or args.tries < 1:
        p.error("--repeats and --tries must be at least 1")
    if args.cpu and {"openvino", "transformers"} & set(args.sides):
        p.error("--cpu knows intact and llama only")
    args.sides = sorted({"intact", *args.sides}, key=list(SIDES).index)
    args.rows = [row for row in ROWS if row.name in args.only]
    if args.quick:
        args.repeats, args.tries = 1, 1
        args.rows = [r._replace(prompt=r.prompt // 8, answer=max(r.answer // 8, 1), asked={}) for r in args.rows]
    results = [measure(path, kind, args) for kind in args.files for path in args.models]
    if args.plot:
        plot(results, SIDES, FILES, args.plot)
    if args.json:
        print(json.dumps({"machine": machine(), "results": results}, indent=2))
    else:
        report(results, SIDES, FILES)


if __name__ == "__main__":
    main()
