"""The output of ``intact eval``: progress, scores, and the facts that may differ between runs."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

import intact
from intact.cli.doctor import installed
from intact.cli.output import Pace, bar, new_table, note, occasional_note, out, show

if TYPE_CHECKING:
    from datetime import datetime

    from intact.evaluate.plan import Plan
    from intact.evaluate.results import EvaluationRun
    from intact.evaluate.work import Done


@contextmanager
def watch(planned: Plan) -> Iterator[tuple[Any, Any]]:
    """Show progress on stderr: a bar on a terminal, otherwise an occasional line.

    Yield two functions: one to call with the number of tokens so far, one to call with each finished unit.
    """
    from rich.progress import MofNCompleteColumn, TextColumn

    status = TextColumn("{task.fields[right]:.1%} right  {task.fields[rate]:,.0f} tokens/s  ends in")
    began, pace, report = time.monotonic(), Pace(), occasional_note()
    right = count = written = 0
    with bar(MofNCompleteColumn(), status) as progress:
        total = sum(1 for _ in planned.units())
        task = progress.add_task(planned.method.name, total=total, right=0.0, rate=0.0)

        def line() -> str:
            parts = [
                f"{count:,} of {total:,} problems",
                f"{right / max(1, count):.1%} right",
                f"{rate():,.0f} tokens/s",
            ]
            return "  ".join([*parts, pace.left(written, count, total)]).rstrip()

        def rate() -> float:
            return written / max(1e-9, time.monotonic() - began)

        def tokens(so_far: int) -> None:
            nonlocal written
            written = so_far
            progress.update(task, rate=rate())
            report(line)

        def done(one: Done) -> None:
            nonlocal right, count
            right, count = right + bool(one.record.correct), count + 1
            progress.update(task, advance=1, right=right / count)
            report(line)

        yield tokens, done


def host(run: EvaluationRun, began: datetime, seconds: float) -> dict[str, Any]:
    """Return the facts that may differ between runs: times, rates, machine, versions."""
    tokens = sum(record.cost["tokens"] for record in run.records)
    names = "numpy", "tokenizers", "math-verify", "sympy", "scipy", "reasoning-gym", "datasets", "ray"
    return {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "tokens": tokens,
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
        "host": platform.node(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "command": sys.argv,
        "intact": intact.__version__,
        "python": platform.python_version(),
        "packages": {name: version for name in names if (version := installed(name))},
    }


def summary(run: EvaluationRun, place: Path) -> dict[str, Any]:
    """Return a run's manifest and scores as JSON values."""
    counts = {why: sum(record.why == why for record in run.records) for why in ("spent", "failed")}
    undecided = [{"task": record.task, "seed": record.seed, "id": record.id} for record in run.undecided]
    return {
        "file": str(place),
        **run.manifest,
        **counts,
        "undecided": undecided,
        "scores": [score._asdict() for score in run.scores],
    }


def print_scores(run: EvaluationRun, place: Path) -> None:
    """Print the scores."""
    table = new_table("task", "", "", "95%", "problems", right=["problems"])
    for score in run.scores:
        form = "{:,.0f}" if score.metric == "tokens" else "{:.1%}"
        both = f"{form} to {form}".format(score.low, score.high) if score.low is not None else f"none: {score.interval}"
        label = run.manifest["tasks"][score.task]["label"]
        table.add_row(Text(label), score.metric, form.format(score.value), both, f"{score.problems:,}")
    out().print(table)
    for why, words in (("spent", "exhausted their budget or context"), ("failed", "failed")):
        found = [record for record in run.records if record.why == why]
        if found:
            first = f"; the first, {found[0].id}: {found[0].error}" if found[0].error else ""
            show(f"{len(found)} {words}{first}", style="red" if why == "failed" else "magenta")
    if run.undecided:
        ids = ", ".join(dict.fromkeys(record.id for record in run.undecided))
        message = (
            f"no score: judging ran out of time or memory, so verdicts are undecided on {len(run.undecided)} "
            f"of {len(run.records)} records ({ids}); run the same command to retry them"
        )
        show(message, style="red")
    for caveat in run.manifest["caveats"]:
        show(caveat, style="yellow")
    note(f"{place}, with the trees of texts and the times next to it")
