"""``intact eval``: evaluate whole tasks; the result file's bytes depend only on the model, the tasks and the method."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.cli import FAILED, UNDECIDED
from intact.cli.cluster import ClusterOptions
from intact.cli.eval_output import host, print_scores, summary, watch
from intact.cli.interruption import resumable
from intact.cli.loading import MixOptions, ModelOptions, PromptOptions, short_name
from intact.cli.model_option import MODEL_OR_ADDRESS_HELP
from intact.cli.options import (
    Advanced,
    JsonOption,
    NOption,
    ReceiptOption,
    SetOption,
    check_output,
    complete_model,
    with_method_sampling,
)
from intact.cli.output import emit, note_old_form, spinner
from intact.cli.seeds import SeedsOption, parse_seeds
from intact.cli.solve import complete_method, parse_settings
from intact.cli.task_names import task_name

if TYPE_CHECKING:
    from intact.evaluate.plan import Plan
    from intact.evaluate.results import EvaluationRun
    from intact.evaluate.work import Done
    from intact.tasks.choose import Chosen

EXAMPLES = """\
Ten problems, with a vote of eight samples each
  intact eval smollm2-135m-instruct gsm8k --method self_consistency -n 8 --limit 10 --out gsm8k.jsonl
If it is killed, run it again: it continues, and ends with the same bytes
  intact eval smollm2-135m-instruct gsm8k --method self_consistency -n 8 --limit 10 --out gsm8k.jsonl
Several tasks with five seeds; a task's parameters follow a colon
  intact eval qwen2.5-coder-0.5b-instruct svamp gsm_ranges:level=3 procbench --seed 0-4
Generated problems, which need no data, with any seed
  intact eval smollm2-135m-instruct reasoning_gym:seed=7
Multiple choice by likelihood
  intact eval smollm2-135m-instruct arc_easy_likelihood
A receipt of every answer, so that others can verify the score
  intact eval smollm2-135m-instruct gsm8k --limit 10 --receipt gsm8k.receipts && intact verify gsm8k.receipts
On all machines of a Ray cluster
  intact eval qwen2.5-coder-1.5b-instruct humaneval -n 20 --method self_consistency --ray auto
List the tasks; report a result
  intact tasks
  intact report gsm8k.jsonl --out gsm8k.html
"""

DEFAULT_TASK = "reasoning_gym"


def complete_task(incomplete: str) -> list[str]:
    """Complete task names."""
    from intact.tasks.choose import complete

    return complete(incomplete)


@dataclass(frozen=True)
class PlanOptions:
    """The method, its parameters and budget, the seeds, and the number of problems."""

    method: Annotated[
        str,
        typer.Option(
            "--method", "-M", help="Method name (intact methods), or FILE.py:NAME.", autocompletion=complete_method
        ),
    ] = "chain_of_thought"
    n: NOption = None
    settings: SetOption = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Number of problems per task.", show_default=False),
    ] = None
    seed: SeedsOption = "0"
    seeds: Annotated[str | None, typer.Option("--seeds", hidden=True)] = None
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="CAPS", help="Hard limits per problem, such as tokens=4k.", show_default=False
        ),
    ] = None

    def chosen_seeds(self) -> tuple[int, ...]:
        """Return the seeds of `--seed`, or of its older form `--seeds`."""
        if self.seeds is None:
            return parse_seeds(self.seed)
        if self.seed != "0":
            raise ParameterError(f"--seeds is the old form of --seed, but both are given: write --seed {self.seed}")
        note_old_form(f"--seeds {self.seeds}", f"--seed {self.seeds}")
        return parse_seeds(self.seeds, "--seeds")

    def planned(
        self, tasks: list[Chosen], others: dict[str, str], sampling: dict[str, Any], system: str | None
    ) -> Plan:
        """Load the tasks' items, and build the plan."""
        from intact.evaluate.plan import plan
        from intact.reason.registry import find

        return plan(
            tasks,
            self.method,
            parse_settings(find(self.method), self.settings, self.n),
            limit=self.limit,
            sampling=sampling,
            seeds=self.chosen_seeds(),
            budget=self.budget or "",
            others={name: short_name(one) for name, one in others.items()},
            system=system,
        )


@dataclass(frozen=True)
class WorkOptions:
    """Options for running the work; none changes the result."""

    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="DIR",
            help="Folder of results, to resume from.",
            show_default="next to the result",
        ),
    ] = None
    parallel: Annotated[
        int,
        typer.Option(
            "--parallel",
            min=1,
            help="Number of concurrent problems. It does not change the result.",
            rich_help_panel=Advanced(),
        ),
    ] = 64
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=1,
            help="Maximum rows per step. It does not change the result.",
            rich_help_panel=Advanced(),
            show_default=False,
        ),
    ] = None
    shuffle: Annotated[
        int | None,
        typer.Option(
            "--shuffle",
            metavar="SEED",
            help="Seed for the order of work. It does not change the result.",
            rich_help_panel=Advanced(),
            show_default=False,
        ),
    ] = None

    @property
    def loading(self) -> dict[str, Any]:
        """Additional arguments of `intact.load`."""
        return {"rows": self.batch} if self.batch else {}


@dataclass(frozen=True)
class ResultOptions:
    """The result files and their format."""

    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Result file (.jsonl).", show_default="from model, task and method"
        ),
    ] = None
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Write partial results to OUT.part.jsonl, for intact report --watch.",
            rich_help_panel=Advanced(),
        ),
    ] = False
    receipt: ReceiptOption = None
    json: JsonOption = False


@with_method_sampling
def command(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help=MODEL_OR_ADDRESS_HELP, autocompletion=complete_model),
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
    *,
    evaluation: PlanOptions,
    work: WorkOptions,
    cluster: ClusterOptions,
    result: ResultOptions,
    models: ModelOptions,
    mixes: MixOptions,
    prompts: PromptOptions,
    sampling: dict[str, Any],
) -> None:
    """Evaluate a model on whole tasks: the same bytes for any number of threads, batch size, order and machines."""
    from intact.evaluate.files import check_place, write
    from intact.evaluate.manifest import manifest
    from intact.evaluate.on_cluster import spread
    from intact.evaluate.partial import PartialResult
    from intact.evaluate.run import evaluate
    from intact.evaluate.work import How, check_mix, check_receipts
    from intact.tasks.choose import choose

    others, named = models.named, {short_name(model): model} | models.named
    prompts.mode()  # raises before the models are loaded
    chosen = [choose(task_name(task)) for task in tasks or [DEFAULT_TASK]]
    check_output("--receipt", result.receipt)
    mixes.check(models, ray=cluster.ray)
    if mixes.mix is not None:
        check_mix(chosen)
    if result.receipt is not None:
        check_receipts(chosen)
    cluster.check(models)
    with spinner("reading the tasks"):
        planned = evaluation.planned(chosen, others, sampling, prompts.system)
    place = result.out_file or _place(planned, model)
    began, start = datetime.now(UTC), time.monotonic()
    kept = work.journal or place.with_suffix(".journal")
    with resumable(kept), models.opened(named, mixes, prompts, **work.loading) as backends:
        with spinner("digesting the model and the tasks"):
            described = manifest(planned, backends)
        check_place(place, described)
        with cluster.opened(backends, models, kept, **work.loading) as pool, watch(planned) as (tokens, done):
            how = How(kept, work.parallel, tokens, result.receipt is not None)
            worker = None if pool is None else spread(pool, lambda _: described)
            so_far = PartialResult(place, planned, described) if result.partial else None

            def finished(one: Done) -> None:
                done(one)
                if so_far is not None:
                    so_far.add(one)

            run = evaluate(
                backends, planned, how, shuffle=work.shuffle, described=described, done=finished, worker=worker
            )
    write(run, place, host(run, began, time.monotonic() - start))
    if so_far is not None:
        so_far.remove()
    if result.receipt is not None:
        _write_receipts(result.receipt, run)
    if result.json:
        emit(summary(run, place))
    else:
        print_scores(run, place)
    if any(record.why == "failed" for record in run.records):
        raise typer.Exit(FAILED)
    if run.undecided:
        raise typer.Exit(UNDECIDED)


def _write_receipts(file: Path, run: EvaluationRun) -> None:
    """Write the available receipts; raise if any is missing."""
    from intact.receipts.document import write_receipts

    write_receipts(file, [one for one in run.receipts if one is not None and not isinstance(one, str)])
    missing = [one for one in run.receipts if one is None or isinstance(one, str)]
    if missing:
        raise ParameterError(f"{len(missing)} of {len(run.receipts)} answers have no receipt; the first: {missing[0]}")


def _place(planned: Plan, model: str) -> Path:
    """Return the default name of the result file."""
    words = [short_name(model), *[chosen.label for chosen in planned.tasks], planned.method.name]
    return Path("-".join(re.sub(r"[^\w.]+", "_", word) for word in words) + ".jsonl")
