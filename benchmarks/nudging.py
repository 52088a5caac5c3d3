#!/usr/bin/env python3
"""Measure nudging: how much of its texts a second model writes, the effect on accuracy, and whether runs replay.

    benchmarks/nudging.py BASE NUDGER [--problems 40] [--gamma 0.4]

The base model continues "Question: ... Answer:" without a chat template, greedily, on the first problems of GSM8K, with
and without nudging; the nudger gets the question in its own template. Prints the share of nudged tokens with a
bootstrap interval over problems, right answers with McNemar's test, and the number of runs whose receipt is verified by
models loaded with another chunk and page size.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

import intact
from intact.reason import Problem, Result, find
from intact.reason.driving.services import MethodJob
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.verify import verify_run
from intact.solving.run import opened, solve_all
from intact.stats.intervals import bootstrap
from intact.stats.paired import mcnemar
from intact.tasks.gsm8k import GSM8K
from intact.tasks.score.answers import read_answer

STOP = ("\nQuestion:",)


def main() -> None:
    """Solve, count, verify and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("nudger")
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--gamma", type=float, default=0.4)
    given = parser.parse_args()
    items = GSM8K().load(limit=given.problems)
    problems = [Problem(item.id, f"Question: {item.question}\nAnswer:", read_answer) for item in items]
    parameters = {"nudger": "nudger", "gamma": given.gamma, "max_tokens": 160}
    load = partial(intact.load, drafter="off")
    models = {"base": load(given.base), "nudger": load(given.nudger)}
    found: dict[int, Result] = {}
    began = time.perf_counter()
    with opened(models) as backends:
        jobs = [MethodJob(find("nudging"), problem, parameters) for problem in problems]
        found.update(solve_all(backends, jobs, sampling={"stop": STOP}, receipt=True))
    seconds = time.perf_counter() - began
    own, nudged, nudges = np.zeros(len(items)), np.zeros(len(items)), 0
    for index, result in found.items():
        assert result.answer.chosen is not None, result.error
        pieces = result.answer.chosen.pieces
        own[index] = sum(len(piece.tokens) for piece in pieces)
        nudged[index] = sum(len(models["base"].tokenizer.encode(p.text, bos=False)) for p in pieces if p.model is None)
        nudges += result.answer.details["nudges"]

    def share_of(indices: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        chosen = indices.astype(np.int64)
        return np.asarray(nudged[chosen].sum(axis) / (own + nudged)[chosen].sum(axis))

    share = bootstrap(np.arange(len(items)), share_of)
    print(
        f"{len(items)} problems, {own.sum() + nudged.sum():.0f} tokens, {nudges} nudges, {seconds:.0f} s; "
        f"nudged tokens {share.estimate:.1%}, 95% interval {share.low:.1%} to {share.high:.1%}"
    )
    task = GSM8K()
    alone = models["base"].generate([str(one.prompt) for one in problems], max_tokens=160, stop=STOP)
    right = {
        "nudged": [task.correct(item, found[index].answer.answer) for index, item in enumerate(items)],
        "alone": [task.correct(item, read_answer(text.text)) for item, (text,) in zip(items, alone, strict=True)],
    }
    test = mcnemar(right["nudged"], right["alone"])
    print(
        f"right: nudged {sum(right['nudged'])}, alone {sum(right['alone'])}; {test.difference:+z.3f}, 95% interval "
        f"{test.low:+z.3f} to {test.high:+z.3f}, p = {test.exact:.3f}"
    )
    for one in models.values():
        one.close()
    base, nudger = (load(path, chunk=96, page_size=16) for path in (given.base, given.nudger))
    receipts = [RunReceipt.parse(result.receipt.encode()) for result in found.values() if result.receipt is not None]
    verdicts = [verify_run(base, receipt, others={"nudger": nudger}).outcome for receipt in receipts]
    print(f"{verdicts.count('true')} of {len(verdicts)} runs replay exactly, under another chunk and page size")


if __name__ == "__main__":
    main()
