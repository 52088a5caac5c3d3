"""``intact solve --task``: solve many problems with known answers, with live progress."""

from __future__ import annotations

import json as encoder
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact._base.files import write_whole
from intact.cli import FAILED, UNDECIDED
from intact.cli.interruption import resumable
from intact.cli.loading import PromptOptions
from intact.cli.options import TASK_HELP, Advanced, ReceiptOption
from intact.cli.output import Pace, emit, err, occasional_note, show, spinner
from intact.cli.seeds import SeedsOption
from intact.cli.task_names import task_name

if TYPE_CHECKING:
    from intact.evaluate.cluster.pool import Pool
    from intact.reason.budget import Budget, Cost
    from intact.reason.registry import Method
    from intact.solving.run import Graded
    from intact.tasks.choose import Chosen
    from intact.tasks.task import Item

ANSWERS = "answers.jsonl"
PARALLEL = 64
"""Default number of concurrent problems."""
PAUSE = 0.2
"""Seconds between two updates of the status line."""


class View:
    """The progress of a task: graded results, tokens, time."""

    def __init__(self, problems: int, caps: Budget) -> None:
        self.problems, self.caps, self.graded = problems, caps, list[Any]()
        self.tokens, self.began, self.pace = 0, time.monotonic(), Pace()

    def line(self) -> str:
        """Format a status line: problems done, accuracy, tokens per second, remaining budget."""
        seconds = time.monotonic() - self.began
        parts = [f"{len(self.graded)}/{self.problems} problems"]
        if self.graded:
            parts.append(f"{sum(bool(one.correct) for one in self.graded) / len(self.graded):.1%} right")
        parts.append(f"{self.tokens / max(seconds, 1e-9):,.0f} tokens/s")
        if self.caps.tokens is not None:
            charged = max(self.tokens, sum(one.result.cost.tokens for one in self.graded))  # a replay generates none
            parts.append(f"{max(0, self.caps.tokens - charged):,} tokens left")
        if self.caps.seconds is not None:
            parts.append(f"{max(0.0, self.caps.seconds - seconds):,.0f} s left")
        elif left := self.pace.left(self.tokens, len(self.graded), self.problems):
            parts.append(left)
        return "  ".join(parts)


@dataclass(frozen=True)
class TaskOptions:
    """The options of ``--task``."""

    task: Annotated[
        str | None,
        typer.Option("--task", "-t", metavar="TASK", help=TASK_HELP, show_default=False),
    ] = None
    split: Annotated[str | None, typer.Option("--split", hidden=True)] = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Number of problems, from the first.", show_default=False),
    ] = None
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            min=1,
            help="Number of concurrent problems. It does not change any answer.",
            rich_help_panel=Advanced(),
            show_default=str(PARALLEL),
        ),
    ] = None


@dataclass(frozen=True)
class SolveOptions:
    """The budget, the seed, and the files that keep the results."""

    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="CAPS",
            help="Hard limits, such as tokens=20k,seconds=60, divided equally among a task's problems.",
            show_default=False,
        ),
    ] = None
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="DIR", help="Folder of results, to resume from.", show_default=False),
    ] = None
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write the tree of completions to a file.", show_default=False),
    ] = None
    receipt: ReceiptOption = None
    seed: SeedsOption = "0"


@dataclass(frozen=True)
class TaskRun:
    """A task to solve: the options, the budget, the model's name, and the method with its parameters and sampling.

    `source` is the method's name, or ``FILE.py:NAME``.
    """

    options: TaskOptions
    work: SolveOptions
    caps: Budget
    model: str
    source: str
    method: Method
    parameters: dict[str, Any]
    sampling: dict[str, Any]
    seed: int
    prompts: PromptOptions


def run_task(
    load: Callable[[], AbstractContextManager[dict[str, Any]]],
    run: TaskRun,
    json: bool,
    pool: Callable[[dict[str, Any]], AbstractContextManager[Pool | None]],
) -> None:
    """Solve a task's problems, and print or write the score.

    Parameters
    ----------
    load : callable
        Opens the models.
    pool : callable
        Opens a pool of workers with the models, if a cluster does the work.
    """
    from intact.receipts.document import write_receipts
    from intact.tasks.choose import choose
    from intact.tasks.score.available import check_parts

    run = replace(
        run, options=replace(run.options, task=task_name(str(run.options.task), run.options.split), split=None)
    )
    task = choose(str(run.options.task))
    check_parts(task.task.uses)
    with spinner(f"reading {task.label}"):
        items = task.load(run.options.limit)
    view = View(len(items), run.caps)
    with resumable(run.work.journal), load() as models, pool(models) as workers:
        view.began = time.monotonic()
        _solve(models, task, items, run, view=view, workers=workers)
    place = {item.id: i for i, item in enumerate(items)}
    results = sorted(view.graded, key=lambda one: place[one.item.id])
    summary = _summary(results, run)
    if json:
        emit(summary)
    else:
        _print(summary, results)
    for file in (run.work.trace, run.work.journal and run.work.journal / ANSWERS):
        if file is not None:
            write_whole(file, _lines(results, run))
    if run.work.receipt is not None:
        write_receipts(run.work.receipt, [one.result.receipt for one in results if one.result.receipt is not None])
    _check_receipts(run, results)
    if summary["failed"]:
        raise typer.Exit(FAILED)
    if summary["undecided"]:
        raise typer.Exit(UNDECIDED)


def _solve(
    models: dict[str, Any], task: Chosen, items: Sequence[Item], run: TaskRun, view: View, workers: Pool | None
) -> None:
    """Solve the items, showing progress."""
    from intact.evaluate.cluster.problems import ProblemsJob
    from intact.evaluate.cluster.receipts import stated
    from intact.solving.run import solve_items

    with _watch(view) as refresh:

        def progress(tokens: int) -> None:
            view.tokens = tokens
            refresh()

        options: dict[str, Any] = {
            "sampling": run.sampling,
            "seed": run.seed,
            "system": run.prompts.system,
            "budget": replace(view.caps, seconds=None).divide(len(items)),
            "parallel": run.options.parallel or PARALLEL,
        }
        if workers is not None:
            receipts = None if run.work.receipt is None else stated(run.method, run.parameters)
            job = ProblemsJob(run.source, str(run.options.task), run.parameters, options, receipts=receipts)
            for _, one in workers.map(job, items):
                view.graded.append(one)
                progress(view.tokens + one.result.cost.tokens)
            return
        options |= {"seconds": view.caps.seconds, "journal": run.work.journal, "progress": progress}
        options["receipt"] = run.work.receipt is not None
        with closing(solve_items(models, run.method, task, items, parameters=run.parameters, **options)) as graded:
            for one in graded:
                view.graded.append(one)
                refresh()


def _check_receipts(run: TaskRun, results: list[Graded]) -> None:
    """Raise ParameterError if receipts were requested and one could not be made."""
    missing = [one.result for one in results if one.result.receipt is None]
    if run.work.receipt is not None and missing:
        why = missing[0].error or missing[0].caveats[-1]
        raise ParameterError(f"{len(missing)} of {len(results)} problems have no receipt; the first: {why}")


@contextmanager
def _watch(view: View) -> Iterator[Callable[[], None]]:
    """Show the status on stderr, live on a terminal and otherwise as occasional lines; yield its update function."""
    console = err()
    if not console.is_terminal:
        report = occasional_note()
        yield lambda: report(view.line)
        return
    with console.status(view.line()) as status:
        last = 0.0

        def refresh() -> None:
            nonlocal last
            if time.monotonic() - last > PAUSE:
                last = time.monotonic()
                status.update(view.line())

        yield refresh


def _lines(results: list[Graded], run: TaskRun) -> Iterator[str]:
    """Yield one line of JSON per result."""
    for one in results:
        line = one.result.as_dict(trace=True) | {"model": run.model, "correct": one.correct, "right": one.item.answer}
        yield encoder.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def _summary(results: list[Graded], run: TaskRun) -> dict[str, Any]:
    right = sum(bool(one.correct) for one in results)
    undecided = [one.item.id for one in results if one.correct is None]
    from intact.stats.intervals import wilson  # imports NumPy, which `intact --help` does without

    low, high = wilson(right, len(results))
    cost = _total([one.result.cost for one in results])
    return {
        "task": run.options.task,
        "model": run.model,
        "method": run.method.name,
        "parameters": run.parameters,
        "sampling": run.sampling,
        "seed": run.seed,
        **{name: value for name, value in asdict(run.prompts).items() if value is not None},
        "budget": run.caps.as_dict(),
        "problems": len(results),
        "right": right,
        "undecided": undecided,
        "accuracy": None if undecided else right / max(1, len(results)),
        "interval": None if undecided else [low, high],
        "spent": sum(one.result.why == "spent" for one in results),
        "failed": sum(one.result.why == "failed" for one in results),
        "cost": cost,
        "results": [
            one.result.as_dict() | {"text": None, "correct": one.correct, "right": one.item.answer} for one in results
        ],
    }


def _total(costs: list[Cost]) -> dict[str, Any]:
    """Sum costs, but take the longest chain of tokens; seconds overlap, so they are left out."""
    sums = {
        name: sum(getattr(cost, name) for cost in costs)
        for name in ("tokens", "prefill", "operations", "scores", "runs")
    }
    return sums | {"sequential": max((cost.sequential for cost in costs), default=0)}


def _print(summary: dict[str, Any], results: list[Graded]) -> None:
    cost = summary["cost"]
    if summary["undecided"]:
        ids = ", ".join(summary["undecided"])
        message = f"no score: judging ran out of time or memory on {ids}; with --journal the same command tries again"
        show(message, style="red")
    else:
        low, high = summary["interval"]
        of = f" right ({summary['right']} of {summary['problems']}; 95% interval {low:.1%} to {high:.1%})"
        show((f"{summary['accuracy']:.1%}", "bold green"), of)
    figures = [
        f"{cost['tokens']:,} tokens",
        f"{cost['sequential']:,} one after the other at most",
        f"{cost['prefill']:,} read",
    ]
    for name in ("spent", "failed"):
        if summary[name]:
            figures.append(f"{summary[name]} {'had spent their budget or context' if name == 'spent' else 'failed'}")
    show(", ".join(figures), style="dim")
    failed = next((one.result.error for one in results if one.result.why == "failed"), None)
    if failed:
        show(f"the first that failed: {failed}", style="red")
