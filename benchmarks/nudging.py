#!/usr/bin/env python3
"""Measure nudging: how much of its texts a second model writes, and whether they replay exactly.

    benchmarks/nudging.py BASE NUDGER [--problems 10] [--gamma 0.4]

The base continues "Question: ... Answer:" without a chat template, on the first problems of GSM8K; the nudger gets the
question by its own. Each run has a receipt, which is verified by models loaded with another chunk and page size.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import intact
from intact.reason import Problem, Result, find
from intact.reason.services import MethodJob
from intact.run_receipts.document import RunReceipt
from intact.run_receipts.verify import verify_run
from intact.score.answers import read_answer
from intact.solving import opened, solve_all
from intact.tasks.gsm8k import GSM8K


def main() -> None:
    """Solve, count, verify and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("nudger")
    parser.add_argument("--problems", type=int, default=10)
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
        found.update(solve_all(backends, jobs, sampling={"stop": ("\nQuestion:",)}, receipt=True))
    seconds = time.perf_counter() - began
    own = nudged = nudges = 0
    for result in found.values():
        assert result.answer.chosen is not None, result.error
        pieces = result.answer.chosen.pieces
        own += sum(len(piece.tokens) for piece in pieces)
        nudged += sum(len(models["base"].tokenizer.encode(p.text, bos=False)) for p in pieces if p.model is None)
        nudges += result.answer.details["nudges"]
    share = nudged / (own + nudged)
    print(
        f"{len(found)} problems, {own + nudged} tokens, {nudges} nudges, {share:.1%} of tokens nudged, {seconds:.0f} s"
    )
    for one in models.values():
        one.close()
    base, nudger = (load(path, chunk=96, page_size=16) for path in (given.base, given.nudger))
    receipts = [RunReceipt.parse(result.receipt.encode()) for result in found.values() if result.receipt is not None]
    verdicts = [verify_run(base, receipt, others={"nudger": nudger}).outcome for receipt in receipts]
    print(f"{verdicts.count('true')} of {len(verdicts)} runs replay exactly, under another chunk and page size")


if __name__ == "__main__":
    main()
