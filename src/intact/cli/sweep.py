"""``intact sweep``: search for a setting about as accurate as a baseline that uses fewer tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact._base.packages import check_installed
from intact.checkpoints.catalogue import DEFAULT
from intact.cli.cluster import ClusterOptions
from intact.cli.eval import complete_task
from intact.cli.interruption import resumable
from intact.cli.loading import MixOptions, ModelOptions, short_name
from intact.cli.model_option import ModelOrAddressOption
from intact.cli.options import Advanced, JsonOption, check_output, with_method_sampling
from intact.cli.output import bar, emit, occasional_note, spinner
from intact.cli.pictures import check_plot
from intact.cli.seeds import one_seed, seed_option
from intact.cli.sweep_output import print_sweep, save_plot, to_object
from intact.cli.task_names import task_name

if TYPE_CHECKING:
    from intact.evaluate.sweep.recorded import RecordedDesign
    from intact.evaluate.sweep.run import Problems
    from intact.evaluate.sweep.search import Design
    from intact.evaluate.work import Done

EXAMPLES = """\
The default space, compared with a vote of 16, for two million tokens
  intact sweep gsm8k -m qwen2.5-coder-0.5b-instruct --tokens 2m --out sweeps/gsm8k
If it is killed, run it again: it continues, and ends with the same bytes
  intact sweep gsm8k -m qwen2.5-coder-0.5b-instruct --tokens 2m --out sweeps/gsm8k
Your own space; an axis applies to the methods that have it
  intact sweep gsm8k --space method=self_consistency,best_of_n --space n=2,4,8 --space scorer=likelihood,length
Several tables in a file
  intact sweep gsm8k --space space.toml
Search on one split of a task, and judge on another
  intact sweep gsm8k:split=train --judge-on gsm8k --training 180 --tokens 20m
On all machines of a Ray cluster
  intact sweep gsm8k -m qwen2.5-coder-0.5b-instruct --tokens 20m --out sweeps/gsm8k --ray auto
Include settings that were good in other sweeps
  intact learn settings sweeps/*/sweep.json --task svamp --to guess.json
  intact sweep svamp --guess guess.json -m qwen2.5-coder-0.5b-instruct --tokens 2m --out sweeps/svamp
A plot of accuracy against tokens, operations and seconds
  intact sweep gsm8k -m qwen2.5-coder-0.5b-instruct --tokens 2m --out sweeps/gsm8k --plot gsm8k.png
The same design with another model
  intact sweep --design sweeps/gsm8k/design.json -m smollm2-135m-instruct --out sweeps/small
The same design with all texts drawn from a mix
  intact sweep --design sweeps/gsm8k/design.json -m large.gguf --mix contrastive --partner small.gguf --out sweeps/mixed
"""


@dataclass(frozen=True)
class SearchOptions:
    """The space, the budget, the problems, and the criterion for a good setting."""

    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="NAME=V1,V2",
            help="Axis: a method, or a parameter of methods, sampling or the task; or FILE.toml.",
            show_default="docs/sweep.md",
        ),
    ] = None
    tokens: Annotated[str, typer.Option("--tokens", metavar="BUDGET", help="Total tokens, such as 500k or 2m.")] = "1m"
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=1, help="Maximum number of settings.")] = 16
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="SETTING", help="Baseline, as METHOD:NAME=VALUE,...")
    ] = "self_consistency:n=16"
    margin: Annotated[float, typer.Option("--margin", help="Tolerated loss of accuracy.")] = 0.03
    share: Annotated[
        float,
        typer.Option(
            "--share", help="Maximum tokens of a setting, as a share of the baseline's.", rich_help_panel=Advanced()
        ),
    ] = 0.5
    guess: Annotated[
        Path | None,
        typer.Option(
            "--guess",
            metavar="FILE",
            help="Settings to try first, from intact learn settings; at most half of --trials.",
            show_default=False,
            rich_help_panel=Advanced(),
        ),
    ] = None
    judge_on: Annotated[
        str | None,
        typer.Option("--judge-on", metavar="TASK", help="Task to judge on.", show_default="others of the same"),
    ] = None
    training: Annotated[
        int | None,
        typer.Option(
            "--training",
            min=1,
            help="Number of problems to search on.",
            show_default="60, or half",
            rich_help_panel=Advanced(),
        ),
    ] = None
    held_out: Annotated[
        int | None,
        typer.Option(
            "--held-out",
            min=2,
            help="Maximum problems to judge on.",
            show_default="all others",
            rich_help_panel=Advanced(),
        ),
    ] = None
    first: Annotated[
        int, typer.Option("--first", min=1, help="Number of problems in the first rung.", rich_help_panel=Advanced())
    ] = 8
    factor: Annotated[
        int,
        typer.Option(
            "--factor",
            min=2,
            help="Factor by which rungs grow and the number of settings shrinks.",
            rich_help_panel=Advanced(),
        ),
    ] = 3
    finalists: Annotated[
        int, typer.Option("--finalists", min=1, help="Maximum number of settings to judge.", rich_help_panel=Advanced())
    ] = 3
    seed: Annotated[str, seed_option("Seed of the split, the settings drawn, and the texts.")] = "0"
    design: Annotated[
        Path | None,
        typer.Option(
            "--design",
            metavar="FILE",
            help="Design of an earlier sweep (design.json), instead of TASK and these options.",
            show_default=False,
        ),
    ] = None

    def recorded(self, task: str | None, sampling: dict[str, Any]) -> RecordedDesign:
        """Return the design, its problems and the sampling parameters of all settings, from the options or a file.

        Invalid options raise here, before any work.
        """
        from intact.evaluate.sweep.recorded import RecordedDesign, read_design
        from intact.evaluate.sweep.run import plan_of

        if self.design is None:
            if task is None:
                raise ParameterError("a sweep needs a TASK, or --design FILE")
            return RecordedDesign(*self.made(task, sampling), sampling)
        if task is not None or sampling or replace(self, design=None) != SearchOptions():
            raise ParameterError("--design FILE already contains the task, the settings and the budget: leave them out")
        found = read_design(self.design)
        for trial in found.design.trials:
            for label in dict.fromkeys((found.problems.label, found.problems.judged_label)):
                plan_of(trial, label, found.sampling, found.design.seed)
        return found

    def made(self, task: str, sampling: dict[str, Any]) -> tuple[Design, Problems]:
        """Return the design and the problems that the options describe."""
        from intact.evaluate.sweep.guess import read_guess
        from intact.evaluate.sweep.run import plan_of, split
        from intact.evaluate.sweep.search import Design
        from intact.evaluate.sweep.space import draw, parse_axes, parse_trial, suited, tables
        from intact.reason.budget import Budget

        task, judged = task_name(task), None if self.judge_on is None else task_name(self.judge_on)
        tokens = Budget.parse(f"tokens={self.tokens}").tokens or 0
        seed = one_seed(self.seed, "a sweep", low=0)
        baseline = parse_trial(self.baseline)
        labels = tuple(dict.fromkeys((task, judged or task)))
        guessed = [] if self.guess is None else [one for one in read_guess(self.guess) if one.key != baseline.key]
        guessed = guessed[: -(-self.trials // 2)]
        space, known = tables(parse_axes(self.space or [])), {baseline.key, *(trial.key for trial in guessed)}
        if not self.space:
            space = suited(space, labels)
        space = [[trial for trial in table if trial.key not in known] for table in space]
        trials = (baseline, *guessed, *draw(space, self.trials - len(guessed), seed))
        for trial in trials:
            for label in labels:
                plan_of(trial, label, sampling, seed)
        problems = split(task, judged, training=self.training, held_out=self.held_out, seed=seed)
        names = [tuple(item.id for item in items) for items in (problems.training, problems.held_out)]
        design = Design(
            trials,
            names[0],
            names[1],
            tokens,
            first=self.first,
            factor=self.factor,
            finalists=self.finalists,
            margin=self.margin,
            seed=seed,
            share=self.share,
        )
        return design, problems


@dataclass(frozen=True)
class SweepWork:
    """Options for running the work; none changes the result."""

    out_folder: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Folder for design, result and journal, to resume from."),
    ] = Path("sweep")
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="DIR",
            help="Journal of another sweep, to reuse its answers.",
            show_default="in FOLDER",
            rich_help_panel=Advanced(),
        ),
    ] = None
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, help="Number of concurrent problems.", rich_help_panel=Advanced())
    ] = 64
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="Maximum rows per step.", show_default=False, rich_help_panel=Advanced()),
    ] = None
    shuffle: Annotated[
        int | None,
        typer.Option(
            "--shuffle",
            metavar="SEED",
            help="Seed for the order of work.",
            show_default=False,
            rich_help_panel=Advanced(),
        ),
    ] = None


@with_method_sampling
def command(
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK]", help="NAME or NAME:KEY=VALUE,...", autocompletion=complete_task, show_default=False
        ),
    ] = None,
    model: ModelOrAddressOption = DEFAULT,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Plot of the Pareto fronts.", show_default=False)
    ] = None,
    json: JsonOption = False,
    *,
    options: SearchOptions,
    work: SweepWork,
    cluster: ClusterOptions,
    models: ModelOptions,
    mixes: MixOptions,
    sampling: dict[str, Any],
) -> None:
    """Search settings of methods for high accuracy with few tokens, and judge the best on held-out problems."""
    from intact.evaluate.manifest import manifest
    from intact.evaluate.on_cluster import spread
    from intact.evaluate.sweep.fronts import seconds_of
    from intact.evaluate.sweep.run import JOURNAL, Runner, read_steps, run_sweep
    from intact.evaluate.work import How

    check_installed("intact sweep", "scipy")
    if work.out_folder.exists() and not work.out_folder.is_dir():
        raise ParameterError(f"--out: {work.out_folder} is a file; expected a folder")
    check_output("--plot", plot)
    if plot is not None:
        check_plot(plot)
    mixes.check(models, ray=cluster.ray)
    with spinner("reading the task"):
        recorded = options.recorded(task, sampling)
    cluster.check(models)
    folder = work.out_folder
    loading: dict[str, Any] = {"rows": work.batch} if work.batch else {}
    kept = work.journal or folder / JOURNAL
    with (
        resumable(kept),
        models.opened({short_name(model): model} | models.named, mixes, **loading) as backends,
        cluster.opened(backends, models, kept, **loading) as pool,
        _watch() as done,
    ):
        worker = None if pool is None else spread(pool, lambda planned: manifest(planned, backends))
        how = How(kept, work.parallel)
        runner = Runner(
            backends,
            recorded.design,
            recorded.problems,
            how,
            sampling=recorded.sampling,
            shuffle=work.shuffle,
            done=done,
            worker=worker,
        )
        result = run_sweep(runner, folder)
    seconds = seconds_of(result["judgement"], read_steps(folder))
    if plot is not None:
        save_plot(result, seconds, plot)
    if json:
        emit(to_object(result, folder, seconds))
    else:
        print_sweep(result, folder, seconds)


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
