"""Measure the gain of drafting: alternate answers with and without it, with equal texts, on several kinds of requests.

With --cpu the process's own time on one thread counts, which other work on the machine affects less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from common import machine, model_path, parser
from draft_requests import KINDS, check_files, requests

import intact
from intact.engine.draft.controller import Controller, Statistics
from intact.engine.draft.draft_model import DraftModel
from intact.engine.draft.union import Union
from intact.engine.drafting import DRAFTERS, MODEL, Drafting, make_drafting


class Row(NamedTuple):
    """One kind of request at one temperature."""

    kind: str
    temperature: float
    tokens: int
    plain: float  # tokens a second
    drafted: float
    gain: float  # the median over requests of the ratio of their times
    low: float
    high: float
    per_step: float
    acceptance: float


def difference(after: Statistics, before: Statistics) -> tuple[int, int, int]:
    """Return the numbers of steps, proposed nodes and accepted nodes between two statistics."""

    def total(statistics: Statistics) -> tuple[int, int, int]:
        return statistics.steps, sum(statistics.proposed.values()), sum(statistics.accepted.values())

    steps, proposed, accepted = (a - b for a, b in zip(total(after), total(before), strict=True))
    return steps, proposed, accepted


def set_clock(drafting: Drafting, clock: Callable[[], float]) -> None:
    """Set the clock of everything that measures time."""
    drafting.controller = Controller(clock=clock)
    for drafter in getattr(drafting.drafter, "members", [drafting.drafter]):
        if isinstance(drafter, DraftModel):
            drafter.clock = clock


def forget(model: intact.Model, name: str) -> None:
    """Recreate the drafters that learn texts, so that none knows an answer from an earlier turn."""
    drafting = model.engine.drafting
    fresh = make_drafting(name, model.program.vocabulary, model.executor.trees) if name != MODEL else None
    if fresh is None:
        return
    if isinstance(drafting.drafter, Union):
        drafting.drafter = Union([fresh.drafter, *drafting.drafter.members[1:]])
    else:
        drafting.drafter = fresh.drafter


def measure(
    model: intact.Model, kind: str, temperature: float, options: argparse.Namespace, clock: Callable[[], float]
) -> Row:
    """Run each request alternately without and with drafts."""
    drafting, count, ratios = model.engine.drafting, 0, []
    seconds = {False: 0.0, True: 0.0}
    steps = proposed = accepted = 0
    for request in requests(kind, options.requests):
        prompt = model.tokenizer.encode_chat([{"role": "user", "content": request}])
        sampling = {"max_tokens": options.tokens, "temperature": temperature, "top_p": 0.95 if temperature else 1.0}
        model.generate(prompt, max_tokens=1)  # from here on the prompt is in the cache
        times: dict[bool, list[float]] = {False: [], True: []}
        texts = set()
        for turn in range(2 * options.repeats):
            draft = turn % 4 in (1, 2)
            forget(model, options.drafter)
            before, start = drafting.statistics, clock()
            (answers,) = model.generate([prompt], options.samples, draft=draft, **sampling)
            times[draft].append(clock() - start)
            texts.add(tuple(answer.tokens for answer in answers))
            if draft:
                more = difference(drafting.statistics, before)
                steps, proposed, accepted = (a + b for a, b in zip((steps, proposed, accepted), more, strict=True))
        if len(texts) > 1:
            raise SystemExit(f"drafting changed the text of: {request[:80]}")
        count += sum(len(answer.tokens) for answer in answers)
        best = {draft: statistics.median(values) for draft, values in times.items()}
        ratios.append(best[False] / best[True])
        for draft, value in best.items():
            seconds[draft] += value
    return Row(
        kind,
        temperature,
        count,
        count / seconds[False],
        count / seconds[True],
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        1 + accepted / max(1, steps),
        accepted / max(1, proposed),
    )


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--drafter", choices=[*DRAFTERS, MODEL], default="auto", help="drafter; model: only the draft model")
    p.add_argument("--draft-model", type=model_path, metavar="MODEL", help="smaller model that also drafts")
    p.add_argument("--requests", type=int, default=4, help="requests per kind, at most 4 (default 4)")
    p.add_argument("--tokens", type=int, default=192, help="maximum tokens per answer (default 192)")
    p.add_argument("--samples", type=int, default=1, help="samples per request, in one batch (default 1)")
    p.add_argument("--repeats", type=int, default=3, help="repeats with and without drafts (default 3)")
    p.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    p.add_argument("--temperatures", nargs="+", type=float, default=[0.0, 0.8])
    p.add_argument("--profile", choices=("int8", "fp32"), default="int8")
    p.add_argument("--cpu", action="store_true", help="use one thread, and processor time instead of wall-clock time")
    p.add_argument("--json", type=Path, help="write the results to a file")
    options = p.parse_args()
    check_files()
    clock = time.process_time if options.cpu else time.perf_counter
    results: dict[str, list[Row]] = {}
    for name in map(str, options.models):
        model = intact.load(
            name,
            options.profile,
            threads=1 if options.cpu else None,
            drafter=options.drafter,
            draft_model=options.draft_model,
        )
        set_clock(model.engine.drafting, clock)
        small = f", draft model {options.draft_model.name}" if options.draft_model else ""
        print(f"\n{Path(name).name}, {options.profile}, drafter {options.drafter}{small}\n")
        print("| request | temperature | plain, tokens/s | drafting | gain (range) | tokens a step | accepted |")
        print("|---|---|---|---|---|---|---|")
        rows = results[Path(name).name] = []
        for temperature in options.temperatures:
            for kind in options.kinds:
                row = measure(model, kind, temperature, options, clock)
                rows.append(row)
                print(
                    f"| {row.kind} | {row.temperature} | {row.plain:.0f} | {row.drafted:.0f} | "
                    f"{row.gain:.2f} ({row.low:.2f}-{row.high:.2f}) | {row.per_step:.2f} | {row.acceptance:.0%} |"
                )
                sys.stdout.flush()
        model.close()
    if options.json:
        found = {name: [row._asdict() for row in rows] for name, rows in results.items()}
        options.json.write_text(json.dumps({"machine": machine(), "options": str(options), "models": found}, indent=1))


if __name__ == "__main__":
    main()
