"""Measure the costs of receipts of runs: the time to make them relative to the rest of the run, and bytes per token.

The engine runs on one thread, so all work is done by the calling thread, whose processor time is counted. The work for
the receipt is timed where it is done, between the engine's steps, when the processor's caches are cold: repeated in
isolation it would take a fraction of that, and the difference between a run with a receipt and one without is mostly
noise. Reading the clock counts as receipt time. The digest of the weights, needed once per model, is excluded.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import common
from reasoning_overhead import QUESTION, Clock, watching

import intact
from intact.engine.engine import Engine
from intact.library import Model
from intact.reason import Problem, find
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.services import MethodJob
from intact.receipts.document import write_base64
from intact.solving.receipts.entries import TextEntry
from intact.solving.receipts.record import RecordingBackend, RunRecorder, TextRecorder
from intact.solving.run import read_answer, solve_all

RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("self_consistency", {"n": 8}),
    ("self_consistency", {"n": 16}),
    ("particle_filter", {"n": 8, "steps": 6}),
    ("deepconf", {"n": 8}),
)


class Made(NamedTuple):
    """A run with a receipt: total processor seconds, and those for the receipt only.

    Attributes
    ----------
    texts, tokens : int
        Number of texts and tokens in its entries.
    size, likeliest : int
        Bytes of the receipt, and the part of them for the most likely tokens.
    """

    method: str
    parameters: dict[str, Any]
    texts: int
    tokens: int
    total: float
    receipt: float
    size: int
    likeliest: int

    @property
    def share(self) -> float:
        """The receipt's time relative to the run's time without it."""
        return self.receipt / (self.total - self.receipt)


def measure(model: Model, method: str, parameters: dict[str, Any], max_tokens: int, seed: int) -> Made:
    problem = Problem("farm", (("user", QUESTION),), read_answer, seed=seed)
    made, ordinary = Clock(time.thread_time), Clock(time.thread_time)
    with watching(
        (made, Engine, "_add_heads"),
        (made, TextRecorder, "watch"),
        (ordinary, NativeBackend, "_finish"),
        (made, RecordingBackend, "_finish"),
        (made, RunRecorder, "admit"),
        (made, RunRecorder, "_receipt"),
    ):
        began = time.thread_time()
        tasks = [MethodJob(find(method), problem, parameters)]
        ((_, result),) = solve_all(
            {"main": NativeBackend(model)}, tasks, sampling={"max_tokens": max_tokens}, receipt=True
        )
        assert result.receipt is not None, result
        data = made.watch(result.receipt.encode)()
        total = time.thread_time() - began
    texts = [entry for entry in result.receipt.entries if isinstance(entry, TextEntry)]
    likeliest = sum(len(write_base64(text.output.top)) for text in texts if text.output.top is not None)
    tokens, spent = result.receipt.count, made.spent - ordinary.spent
    return Made(method, parameters, len(texts), tokens, total, spent, len(data), likeliest)


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--max-tokens", type=int, default=128)
    p.add_argument("--rounds", type=int, default=1, help="repeats, of which the smallest share is reported")
    p.add_argument("--json", type=Path, metavar="FILE")
    args = p.parse_args()
    machine, found = common.machine(), dict[str, list[dict[str, Any]]]()
    print(f"{machine['processor']}, one thread")
    for path in args.models:
        model = intact.load(path, threads=1)
        print(
            f"{path.name}\n| method | texts | tokens | processor s | receipt, ms | share | bytes per token | "
            f"of these for the likeliest tokens |\n{'|---' * 8}|"
        )
        for method, parameters in RUNS:
            measure(model, method, parameters, 2, -1)  # imports what it needs
            runs = [measure(model, method, parameters, args.max_tokens, seed) for seed in range(args.rounds)]
            m = min(runs, key=lambda run: run.share)
            found.setdefault(path.name, []).append(m._asdict() | {"share": m.share})
            given = ", ".join(f"{name}={value}" for name, value in parameters.items())
            print(
                f"| {method}, {given} | {m.texts} | {m.tokens} | {m.total:.2f} | {1000 * m.receipt:.1f} "
                f"| {m.share:.2%} | {m.size / m.tokens:.0f} | {m.likeliest / m.tokens:.0f} |",
                flush=True,
            )
        model.close()
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "models": found}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
