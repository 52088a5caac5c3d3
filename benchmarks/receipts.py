"""Measure the costs of receipts: making them, against no receipts; verifying them, against scoring and generating.

Each value is a ratio of processor times of this process, each the minimum of several repeats, so other work on the
machine has little effect. With one thread (--threads 1) it is the time on an idle machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np

import intact
from intact.engine.request import Event
from intact.library import Model
from intact.receipts.document import Receipt
from intact.receipts.identity import digests_of
from intact.receipts.make import ChainRecorder
from intact.receipts.verify import verify

PROMPT = "The history of the town begins with a river, a mill and three families who came over the hills. " * 4
SAMPLED = {"temperature": 0.8, "top_p": 0.95, "ignore_eos": True}
SHARED = 64


class Result(NamedTuple):
    """Processor seconds: of one stream with and without receipt, of scoring the same text, of verifying it.

    Attributes
    ----------
    recorded : float
        Time that one stream spends on a receipt, measured separately: the difference of the former two is mostly noise.
    batch, batch_plain : float
        The same for `SHARED` samples of one prompt in one batch; `shared` verifies all of their receipts.
    receipt_bytes : float
        Bytes per token of the receipt.
    """

    model: str
    tokens: int
    stream: float
    plain: float
    recorded: float
    scored: float
    verified: float
    batch: float
    batch_plain: float
    shared: float
    shared_tokens: int
    receipt_bytes: float


def least(repeats: int, *tasks: Callable[[], Any]) -> list[float]:
    """Return the processor seconds of each task, the minimum over alternating repeats."""
    found: list[list[float]] = [[] for _ in tasks]
    for _ in range(repeats):
        for times, task in zip(found, tasks, strict=True):
            began = time.process_time()
            task()
            times.append(time.process_time() - began)
    return [min(times) for times in found]


def check(model: Model, receipts: list[Receipt]) -> None:
    for verdict in verify(model, receipts):
        assert verdict.outcome == "true", verdict


def record(model: Model, receipt: Receipt) -> None:
    """Do the work that a receipt adds to the steps, for each of its tokens, with the states of the last step."""
    recorder, first = ChainRecorder(lambda _: receipt.header), np.zeros(1, np.int64)
    for position, token in enumerate(receipt.output.tokens):
        (head,) = model.executor.head_inputs(first)
        recorder.watch(Event(0, token, 0, position, (), head.tobytes()))


def measure(path: Path, tokens: int, each: int, threads: int, repeats: int) -> Result:
    model = intact.load(path, threads=threads, drafter="off", prefix_cache=False)
    digests_of(model)  # which reads the weights once

    def answer(receipt: bool, n: int = 1) -> list[Receipt]:
        count = tokens if n == 1 else each
        samples = model.generate(PROMPT, n=n, max_tokens=count, receipt=receipt, seed=n, **SAMPLED)[0]
        return [sample.receipt for sample in samples if sample.receipt is not None]

    one, many = answer(True), answer(True, SHARED)
    (receipt,) = one
    text = [*receipt.header.request.prompt, *receipt.output.tokens]
    stream, plain = least(repeats, lambda: answer(True), lambda: answer(False))
    (recorded,) = least(repeats, lambda: record(model, receipt))
    scored, verified = least(repeats, lambda: model.logprobs(text), lambda: check(model, one))
    batch, batch_plain = least(repeats, lambda: answer(True, SHARED), lambda: answer(False, SHARED))
    model = intact.load(path, threads=threads, drafter="off")  # with the cache that shares their prompt
    digests_of(model)
    (shared,) = least(repeats, lambda: check(model, many))
    size = len(receipt.chain) * 4 / 3 + len(json.dumps(receipt.output.tokens, separators=(",", ":")))
    return Result(
        path.name,
        len(receipt.output.tokens),
        stream,
        plain,
        recorded,
        scored,
        verified,
        batch,
        batch_plain,
        shared,
        sum(len(each.output.tokens) for each in many),
        size / len(receipt.output.tokens),
    )


def show(r: Result) -> None:
    print(f"{r.model}: one answer of {r.tokens} tokens, and {SHARED} of one prompt ({r.shared_tokens} tokens)")
    print(f"  a receipt takes, of one stream's time    {r.recorded / r.plain:7.2%}")
    print(f"  receipts make one stream slower by       {r.stream / r.plain - 1:7.2%}")
    print(f"  and {SHARED} samples in a batch by             {r.batch / r.batch_plain - 1:7.2%}")
    print(f"  bytes of a receipt, a token              {r.receipt_bytes:7.1f}")
    print(f"  verifying, of the rate of scoring        {r.scored / r.verified:7.2f}")
    print(f"  verifying, times as fast as one stream   {r.plain / r.verified:7.2f}")
    rate, alone = r.shared_tokens / r.shared, r.tokens / r.plain
    print(f"  the {SHARED}, times as fast as one stream      {rate / alone:7.2f}")
    print(f"  and than generating them in one batch    {r.batch_plain / r.shared:7.2f}")


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--tokens", type=int, default=1000, help="tokens of the single answer")
    p.add_argument("--each", type=int, default=100, help="tokens of each of the samples in the batch")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--json", action="store_true")
    given = p.parse_args()
    results = [measure(path, given.tokens, given.each, given.threads, given.repeats) for path in given.models]
    if given.json:
        print(json.dumps([result._asdict() for result in results], indent=2))
    else:
        for result in results:
            show(result)


if __name__ == "__main__":
    main()
