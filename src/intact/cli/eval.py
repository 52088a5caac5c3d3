"""``intact eval``: whole tasks by a method, to a result file whose bytes depend on nothing but what was asked."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli import UNDECIDED, fetch
from intact.cli.eval_shown import host, show, summary, watch
from intact.cli.options import (
    CacheOption,
    ContinuesOption,
    FixedNowOption,
    JsonOption,
    NOption,
    ProfileOption,
    ReceiptOption,
    SetOption,
    ThreadsOption,
    WithOption,
    as_bytes,
    check_output,
    complete_model,
    pair,
    with_method_sampling,
)
from intact.cli.output import emit, note
from intact.cli.solve import complete_method, given
from intact.errors import ParameterError

if TYPE_CHECKING:
    from intact.evaluate.plan import Plan
    from intact.evaluate.results import EvaluationRun

EXAMPLES = """\
Ten problems, eight samples of each, one vote
  intact eval smollm2-135m-instruct gsm8k --method self_consistency -n 8 --limit 10 --out gsm8k.jsonl
Kill it, run it again: it goes on where it was, and ends with the same bytes
  intact eval smollm2-135m-instruct gsm8k --method self_consistency -n 8 --limit 10 --out gsm8k.jsonl
Several tasks, five seeds; a task's parameters behind a colon
  intact eval qwen2.5-coder-0.5b-instruct svamp gsm_ranges:level=3 procbench --seeds 0-4
No data needed: problems that are made, from any seed
  intact eval smollm2-135m-instruct reasoning_gym:seed=7
Likelihoods of choices
  intact eval smollm2-135m-instruct arc_easy_likelihood
A receipt of every answer, for whoever doubts a score
  intact eval smollm2-135m-instruct gsm8k --limit 10 --receipt gsm8k.receipts && intact verify gsm8k.receipts
On all machines of a Ray cluster
  intact eval qwen2.5-coder-1.5b-instruct humaneval -n 20 --method self_consistency --ray auto
What tasks there are; what came out
  intact tasks
  intact report gsm8k.jsonl --out gsm8k.html
"""

DEFAULT_TASK = "reasoning_gym"


def complete_task(incomplete: str) -> list[str]:
    """Offer the tasks' names."""
    from intact.tasks.choose import complete

    return complete(incomplete)


@with_method_sampling
def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Catalogue name, path, or http://HOST/v1#NAME.", autocompletion=complete_model
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK",
            help="NAME, NAME:KEY=VALUE,... or FILE.toml (default: reasoning_gym).",
            autocompletion=complete_task,
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method", "-M", help="A name (intact methods), or FILE.py:NAME.", autocompletion=complete_method
        ),
    ] = "chain_of_thought",
    n: NOption = None,
    settings: SetOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Only the first so many problems of each task.", show_default=False),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="LIST", help="Such as 0-4 or 0,7.")] = "0",
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="CAPS", help="What a problem may cost, such as tokens=4k.", show_default=False
        ),
    ] = None,
    others: WithOption = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The result (.jsonl).", show_default="from model, task and method"
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="DIR", help="What is done is kept there.", show_default="beside the result"),
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, help="Problems at a time, at most. It changes no byte of the result.")
    ] = 64,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="Rows of a step at most. It changes no byte either.", show_default=False),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS", help="Spread over a Ray cluster: auto, HOST:PORT, or local.", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Of the cluster; by default one a machine.", show_default=False),
    ] = None,
    shuffle: Annotated[
        int | None,
        typer.Option(
            "--shuffle",
            metavar="SEED",
            help="Work in an order drawn from SEED; the result stays the same.",
            show_default=False,
        ),
    ] = None,
    receipt: ReceiptOption = None,
    now: FixedNowOption = None,
    continues: ContinuesOption = "no",
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    cache: CacheOption = None,
    json: JsonOption = False,
    *,
    sampling: dict[str, Any],
) -> None:
    """Evaluate a model on whole tasks: the same bytes whatever the threads, batch, order or machines."""
    from intact.evaluate.files import check_place, write
    from intact.evaluate.manifest import manifest
    from intact.evaluate.plan import plan
    from intact.evaluate.run import evaluate
    from intact.evaluate.work import How
    from intact.reason.registry import find
    from intact.solving import is_address, opened
    from intact.tasks.choose import choose

    further = dict(map(pair, others or []))
    planned = plan(
        [choose(task) for task in tasks or [DEFAULT_TASK]],
        method,
        given(find(method), settings or [], n),
        limit=limit,
        sampling=sampling,
        seeds=_seeds(seeds),
        budget=budget or "",
        others={name: _name(one) for name, one in further.items()},
    )
    check_output("--receipt", receipt)
    if receipt is not None and ray is not None:
        raise ParameterError("--receipt cannot be combined with --ray: verify what one machine has written")
    if workers is not None and ray is None:
        raise ParameterError("--workers goes with --ray: there is no cluster")
    place = out_file or _place(planned, model)
    named = {_name(model): model} | further
    began, start = datetime.now(UTC), time.monotonic()
    options: dict[str, Any] = {"profile": profile, "threads": threads, "cache_bytes": as_bytes(cache)}
    options |= {"rows": batch} if batch else {}
    models = {name: one if is_address(one) else fetch.load(one, **options) for name, one in named.items()}
    with opened(models, continues, now) as backends:
        told = manifest(planned, backends)
        check_place(place, told)
        kept = journal or place.with_suffix(".journal")
        with watch(planned) as (tokens, done):
            how = How(kept, parallel, tokens, receipt is not None)
            worker = None if ray is None else _cluster(ray, workers, backends, options, told)
            try:
                run = evaluate(backends, planned, how, shuffle=shuffle, told=told, done=done, worker=worker)
            except KeyboardInterrupt:
                note(f"what is done is in {kept}: the same command goes on from there")
                raise
    write(run, place, host(run, began, time.monotonic() - start))
    if receipt is not None:
        _write_receipts(receipt, run)
    if json:
        emit(summary(run, place))
    else:
        show(run, place)
    if run.undecided:
        raise typer.Exit(UNDECIDED)


def _write_receipts(file: Path, run: EvaluationRun) -> None:
    """Write what receipts there are; refuse to pass over one that is missing."""
    from intact.receipts.document import write_receipts

    write_receipts(file, [one for one in run.receipts if one is not None and not isinstance(one, str)])
    missing = [one for one in run.receipts if one is None or isinstance(one, str)]
    if missing:
        raise ParameterError(f"{len(missing)} of {len(run.receipts)} answers have no receipt; the first: {missing[0]}")


def _seeds(text: str) -> list[int]:
    """Seeds from a list such as 0-4,7."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not found or (found[2] and int(found[2]) < int(found[1])) or int(found[2] or 0) - int(found[1]) > 10_000:
            raise ParameterError(f"--seeds takes a list such as 0-4 or 0,7, got {text!r}")
        seeds += range(int(found[1]), int(found[2] or found[1]) + 1)
    return seeds


def _name(model: str) -> str:
    """What a model is called, wherever its file lies."""
    return Path(model).name if Path(model).exists() else model


def _place(planned: Plan, model: str) -> Path:
    """A file's name for a result."""
    words = [_name(model), *[chosen.label for chosen in planned.tasks], planned.method.name]
    return Path("-".join(re.sub(r"[^\w.]+", "_", word) for word in words) + ".jsonl")


def _cluster(
    address: str, workers: int | None, backends: dict[str, Any], options: dict[str, Any], told: dict[str, Any]
) -> Any:
    """Who does the work on a cluster."""
    from intact.evaluate.cluster import spread
    from intact.evaluate.models import ship
    from intact.reason.backends.native import NativeBackend

    for name, backend in backends.items():
        if not isinstance(backend, NativeBackend):
            raise ParameterError(f"{name} runs elsewhere already: only models of ours are spread over a cluster")
    shipments = {name: ship(backend.model.path, options) for name, backend in backends.items()}
    return spread(address, shipments, told, workers)
