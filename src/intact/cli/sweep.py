"""``intact sweep``: search for a setting that is about as accurate as a baseline for fewer tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from intact.catalogue import DEFAULT
from intact.cli.cluster import ClusterOptions
from intact.cli.eval import complete_task
from intact.cli.options import (
    MODEL_OR_ADDRESS_HELP,
    JsonOption,
    MixOptions,
    ModelOptions,
    complete_model,
    with_method_sampling,
)
from intact.cli.output import bar, emit, new_table, note, occasional_note, out, show, spinner
from intact.errors import ParameterError
from intact.packages import check_installed

if TYPE_CHECKING:
    from intact.evaluate.sweep.recorded import RecordedDesign
    from intact.evaluate.sweep.run import Problems
    from intact.evaluate.sweep.search import Design
    from intact.evaluate.work import Done

EXAMPLES = """\
The default space, against a vote of 16, with two million tokens
  intact sweep gsm8k -m qwen2.5-coder-0.5b-instruct --tokens 2m --out sweeps/gsm8k
Kill it, run it again: it goes on, and ends with the same bytes
  intact sweep gsm8k -m qwen2.5-coder-0.5b-instruct --tokens 2m --out sweeps/gsm8k
A space of your own; an axis applies to the methods that have it
  intact sweep gsm8k --space method=self_consistency,best_of_n --space n=2,4,8 --space scorer=likelihood,length
Several tables, in a file
  intact sweep gsm8k --space space.toml
Search on one file of a task, and judge on another
  intact sweep gsm8k:split=train --judge-on gsm8k --training 180 --tokens 20m
On all machines of a Ray cluster
  intact sweep gsm8k -m qwen2.5-coder-0.5b-instruct --tokens 20m --out sweeps/gsm8k --ray auto
The design of that sweep with another model
  intact sweep --design sweeps/gsm8k/design.json -m smollm2-135m-instruct --out sweeps/small
The same with all texts drawn from a mix
  intact sweep --design sweeps/gsm8k/design.json -m large.gguf --mix contrastive --partner small.gguf --out sweeps/mixed
"""


@dataclass(frozen=True)
class SearchOptions:
    """The space, the budget, the problems, and what counts as good enough."""

    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="NAME=V1,V2",
            help="An axis: method, a parameter of methods, a sampling parameter, or of the task; or FILE.toml.",
            show_default="docs/sweep.md",
        ),
    ] = None
    tokens: Annotated[str, typer.Option("--tokens", metavar="BUDGET", help="Tokens in all, such as 500k or 2m.")] = "1m"
    trials: Annotated[int, typer.Option("--trials", min=1, help="Most settings; drawn from the seed.")] = 16
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="METHOD:NAME=VALUE", help="What settings are compared with.")
    ] = "self_consistency:n=16"
    margin: Annotated[float, typer.Option("--margin", help="The loss of accuracy that does not matter.")] = 0.03
    judge_on: Annotated[
        str | None,
        typer.Option("--judge-on", metavar="TASK", help="The task to judge on.", show_default="others of the same"),
    ] = None
    training: Annotated[
        int | None, typer.Option("--training", min=1, help="Problems to search on.", show_default="60, or half")
    ] = None
    held_out: Annotated[
        int | None, typer.Option("--held-out", min=2, help="Most problems to judge on.", show_default="all others")
    ] = None
    first: Annotated[int, typer.Option("--first", min=1, help="Problems of the first rung.")] = 8
    factor: Annotated[
        int, typer.Option("--factor", min=2, help="By how much rungs grow, and settings become fewer.")
    ] = 3
    finalists: Annotated[int, typer.Option("--finalists", min=1, help="Most settings that are judged.")] = 3
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the split, the settings drawn, and the texts.")] = 0
    design: Annotated[
        Path | None,
        typer.Option(
            "--design",
            metavar="FILE",
            help="The design.json of another sweep, or one of your own, in place of TASK and all of these.",
            show_default=False,
        ),
    ] = None

    def recorded(self, task: str | None, sampling: dict[str, Any]) -> RecordedDesign:
        """Return the design, its problems and the sampling parameters of all settings, made here or read from a file.

        Whatever makes no sense raises here, before the work.
        """
        from intact.evaluate.sweep.recorded import RecordedDesign, read_design
        from intact.evaluate.sweep.run import plan_of

        if self.design is None:
            if task is None:
                raise ParameterError("a sweep needs a TASK, or --design FILE")
            return RecordedDesign(*self.made(task, sampling), sampling)
        if task is not None or sampling or replace(self, design=None) != SearchOptions():
            raise ParameterError("--design FILE holds the task, the settings and the budget: leave out all of these")
        found = read_design(self.design)
        for trial in found.design.trials:
            for label in dict.fromkeys((found.problems.label, found.problems.judged_label)):
                plan_of(trial, label, found.sampling, found.design.seed)
        return found

    def made(self, task: str, sampling: dict[str, Any]) -> tuple[Design, Problems]:
        """Return the design that the options state, and its problems."""
        from intact.evaluate.sweep.run import plan_of, split
        from intact.evaluate.sweep.search import Design
        from intact.evaluate.sweep.space import draw, expand, parse_axes, parse_trial
        from intact.reason.budget import Budget

        tokens = Budget.parse(f"tokens={self.tokens}").tokens or 0
        baseline = parse_trial(self.baseline)
        space = [trial for trial in expand(parse_axes(self.space or [])) if trial.key != baseline.key]
        trials = (baseline, *draw(space, self.trials, self.seed))
        for trial in trials:
            for label in dict.fromkeys((task, self.judge_on or task)):
                plan_of(trial, label, sampling, self.seed)
        problems = split(task, self.judge_on, training=self.training, held_out=self.held_out, seed=self.seed)
        names = [tuple(item.id for item in items) for items in (problems.training, problems.held_out)]
        design = Design(
            trials, names[0], names[1], tokens, self.first, self.factor, self.finalists, self.margin, seed=self.seed
        )
        return design, problems


@dataclass(frozen=True)
class SweepWork:
    """Options of the work, none of which changes the result."""

    out_folder: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Design, result and journal; a run goes on from there."),
    ] = Path("sweep")
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="DIR", help="Another sweep's, to use its answers.", show_default="in FOLDER"),
    ] = None
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Most problems at a time.")] = 64
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Most rows of a step.", show_default=False)] = None
    shuffle: Annotated[
        int | None, typer.Option("--shuffle", metavar="SEED", help="Work in another order.", show_default=False)
    ] = None


@with_method_sampling
def command(
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]", help="NAME or NAME:KEY=VALUE,...", autocompletion=complete_task, show_default=False
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help=MODEL_OR_ADDRESS_HELP, autocompletion=complete_model)
    ] = DEFAULT,
    json: JsonOption = False,
    *,
    options: SearchOptions,
    work: SweepWork,
    cluster: ClusterOptions,
    models: ModelOptions,
    mixes: MixOptions,
    sampling: dict[str, Any],
) -> None:
    """Search settings of methods for accuracy and few tokens, and judge the best on problems held out."""
    from intact.evaluate.cluster import spread
    from intact.evaluate.manifest import manifest
    from intact.evaluate.sweep.run import JOURNAL, Runner, run_sweep
    from intact.evaluate.work import How

    check_installed("intact sweep", "statsmodels", "scipy")
    if work.out_folder.exists() and not work.out_folder.is_dir():
        raise ParameterError(f"--out: {work.out_folder} is a file; expected a folder")
    mixes.check(models, ray=cluster.ray)
    with spinner("reading the task"):
        recorded = options.recorded(task, sampling)
    cluster.check(models)
    folder = work.out_folder
    loading: dict[str, Any] = {"rows": work.batch} if work.batch else {}
    name = Path(model).name if Path(model).exists() else model
    kept = work.journal or folder / JOURNAL
    with (
        models.opened({name: model} | models.named, mixes, **loading) as backends,
        cluster.opened(backends, models, kept, **loading) as pool,
        _watch() as done,
    ):
        worker = None if pool is None else spread(pool, lambda planned: manifest(planned, backends))
        how = How(kept, work.parallel)
        runner = Runner(
            backends, recorded.design, recorded.problems, how, recorded.sampling, work.shuffle, done, worker=worker
        )
        try:
            result = run_sweep(runner, folder)
        except KeyboardInterrupt:
            note(f"answers so far are in {kept}; run the same command again to continue")
            raise
    if json:
        emit({"folder": str(folder), **result})
    else:
        print_sweep(result, folder)


@contextmanager
def _watch() -> Iterator[Any]:
    """Show progress on stderr; yield a function to call with each finished problem."""
    began, count, tokens, report = time.monotonic(), 0, 0, occasional_note()
    with bar() as progress:
        bar_task = progress.add_task("sweep", total=None)

        def done(trial: Any, part: str, one: Done) -> None:
            nonlocal count, tokens
            count, tokens = count + 1, tokens + one.record.cost["tokens"]
            rate = tokens / max(1e-9, time.monotonic() - began)
            words = f"{part.replace('_', ' ')}: {trial.label}  {count:,} answers  {tokens:,} tokens"
            progress.update(bar_task, description=words)
            report(lambda: f"{words}  {rate:,.0f} tokens/s")

        yield done


def print_sweep(result: dict[str, Any], folder: Path) -> None:
    """Print a sweep's result: the rungs in a line each, the finalists beside the baseline, and what was found."""
    design, judgement, spent = result["design"], result["judgement"], result["spent"]
    labels = [trial["label"] for trial in design["trials"]]
    for rung in result["rungs"]:
        line = f"{rung['problems']} problems: {len(rung['settings']) - 1} settings, {len(rung['kept'])} go on"
        for words in ("unaffordable", "failed"):
            line += f", {len(rung[words])} {words}" if rung[words] else ""
        show(line)
    if result["untried"]:
        show(f"{len(result['untried'])} settings were not tried, for want of tokens", style="magenta")
    table = new_table("setting", "right", "95%", "tokens each", "of the baseline's", "difference", "front")
    for row in judgement["settings"]:
        against = row.get("against_baseline")
        words = "the baseline"
        if against:
            words = f"{against['difference']:+.1%} ({against['low']:+.1%} to {against['high']:+.1%})"
        table.add_row(
            Text(row["label"]), f"{row['accuracy']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}",
            f"{row['tokens_each']:,.0f}", f"{row['tokens_share']:.0%}", words, "yes" if row["front"] else "",
        )  # fmt: skip
    out().print(table)
    show(f"on {judgement['problems']} problems held out; intervals of differences hold for all of them together")
    show("Pareto front, from the cheapest: " + "; ".join(labels[trial] for trial in judgement["front"]))
    show(_verdict(result, labels))
    for caveat in result["caveats"]:
        show(caveat, style="yellow")
    note(f"{spent['total']:,} tokens of {spent['budget']:,}; {folder} holds design, result and journal")


def _verdict(result: dict[str, Any], labels: list[str]) -> str:
    judgement, margin = result["judgement"], result["design"]["margin"]
    if judgement["found"] is not None:
        (row,) = [row for row in judgement["settings"] if row["trial"] == judgement["found"]]
        return (
            f"found: {row['label']}, non-inferior to {labels[0]} within {margin:.1%} (p = "
            f"{row['against_baseline']['adjusted']:.2g}, by Holm), for {row['tokens_share']:.0%} of its tokens"
        )
    power = judgement["power"]
    return (
        f"none found in this space: no setting is shown to be within {margin:.1%} of {labels[0]} for fewer tokens. "
        f"One as accurate as the baseline would have been found with a chance of {power['power']:.0%}; a chance of 80% "
        f"needs {power['problems_for_80']:,} problems held out"
    )
