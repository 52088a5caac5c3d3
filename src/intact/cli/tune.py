"""``intact tune``: search for a model's fastest settings on this machine."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from intact._base.errors import ParameterError
from intact._base.markup.render import visible
from intact._base.packages import check_installed
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import ModelArgument
from intact.cli.options import JsonOption, check_output
from intact.cli.output import bar, emit, new_table, note, out, show
from intact.cli.pictures import check_plot, save_picture
from intact.cli.seeds import one_seed, seed_option

if TYPE_CHECKING:
    from intact.measure.bench.tuned import Settings
    from intact.measure.bench.tuning import Ratio, TimedSettings, Tuning

EXAMPLES = """\
Tune for one answer at a time
  intact tune -m smollm2-135m-instruct
Tune for sixteen samples of long prompts, for at most ten minutes, with a plot of all candidates
  intact tune -m ./model.gguf --prompt 1024 --answer 256 --samples 16 --seconds 600 --plot tuning.png
Tune for eight clients of a server, without saving the result
  intact tune -m ./model.gguf --clients 8 --no-save
Restore the defaults
  intact tune -m ./model.gguf --forget

Close other programs first. Settings affect only the speed: answers stay the same to the last bit.
"""


def command(
    model: ModelArgument = DEFAULT,
    prompt: Annotated[int, typer.Option("--prompt", min=1, help="Tokens per prompt.")] = 256,
    answer: Annotated[int, typer.Option("--answer", min=2, help="Tokens per answer.")] = 64,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Answers per prompt.")] = 1,
    clients: Annotated[int, typer.Option("--clients", min=1, help="Number of concurrent prompts.")] = 1,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Maximum number of candidates.")] = 24,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=1, help="Approximate time limit of the search in seconds.", show_default="no limit"
        ),
    ] = None,
    seed: Annotated[str, seed_option("Seed of the optimiser.")] = "0",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Save a plot of all candidates.", show_default=False)
    ] = None,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Save the settings found, for later commands.")] = True,
    forget: Annotated[bool, typer.Option("--forget", help="Only delete the settings saved for the model.")] = False,
    json: JsonOption = False,
) -> None:
    """Search for a model's fastest settings on this machine."""
    from intact.measure.bench.tuned import forget_settings, save_settings

    if forget:
        dropped = forget_settings(fetch.locate(model))
        if json:
            emit({"model": model, "dropped": dropped})
            return
        show(f"{model}: " + ("back to the defaults" if dropped else "no settings were saved: the defaults are in use"))
        return
    check_installed("intact tune", "optuna")
    check_output("--plot", plot)
    if plot is not None:
        check_plot(plot)
    from intact.measure.bench.tuning import TuneWorkload, tune

    drawn_by = one_seed(seed, "a search", low=0, high=(1 << 32) - 1)
    path = fetch.locate(model)
    workload = TuneWorkload(prompt, answer, samples, clients)
    from rich.progress import MofNCompleteColumn

    with bar(MofNCompleteColumn(), still=True) as progress:
        task = progress.add_task("the defaults", total=trials)

        def report(number: int, trial: TimedSettings) -> None:
            title = f"{trial.ratio.value:.2f} x: {spelled(trial.settings)}"
            progress.update(task, completed=number + 1, description=title, refresh=True)

        limit = math.inf if seconds is None else seconds
        found = tune(path, workload, trials=trials, seconds=limit, seed=drawn_by, report=report)
    kept = save_settings(path, found.best, found.to_record()) if save and found.gained else None
    if plot is not None:
        save_plot(found, plot, path.name)
    if json:
        emit({"model": model, "kept": None if kept is None else str(kept)} | found.to_document())
        return
    out().print(table(found))
    show(verdict(found))
    if kept is not None:
        note(f"saved in {kept} for later commands; --forget deletes it, INTACT_TUNED=off ignores it")


def spelled(settings: Settings) -> str:
    """Describe settings in words."""
    return f"{settings.threads} threads, {settings.rows} rows, chunks of {settings.chunk}, drafter {settings.drafter}"


def verdict(found: Tuning) -> str:
    """Describe the result in a sentence."""
    if found.best == found.defaults:
        return f"None of {len(found.trials)} candidates was faster than the defaults ({spelled(found.defaults)})."
    gain = f"{_times(found.ratio)} as fast as the defaults, in {found.ratio.turns} turns"
    if not found.gained:
        return f"No significant gain: the best candidate ({spelled(found.best)}) is {gain}, which may be chance."
    return f"{spelled(found.best)}: {gain}."


def _times(ratio: Ratio) -> str:
    return f"{ratio.value:.3f} times ({ratio.low:.3f} to {ratio.high:.3f} at 95%)"


def table(found: Tuning) -> Table:
    """Return the candidates as a table, fastest first."""
    rows = new_table("threads", "rows", "chunk", "drafter", "times as fast", "95%", right=("threads", "rows", "chunk"))
    for trial in sorted(found.trials, key=lambda trial: -trial.ratio.value):
        one, ratio = trial.settings, trial.ratio
        interval = f"{ratio.low:.3f} to {ratio.high:.3f}"
        rows.add_row(str(one.threads), str(one.rows), str(one.chunk), one.drafter, f"{ratio.value:.3f}", interval)
    return rows


def save_plot(found: Tuning, path: Path, title: str) -> None:
    """Save a plot of the search: for each setting, the speed of the candidates by value."""
    if not found.trials:
        raise ParameterError(f"--plot {path}: no candidate was timed")
    from matplotlib.figure import Figure as Canvas

    names = ("threads", "rows", "chunk", "drafter")
    canvas = Canvas(figsize=(9, 6), layout="constrained")
    for axis, name in zip(canvas.subplots(2, 2).flat, names, strict=True):
        values = sorted({getattr(trial.settings, name) for trial in found.trials})
        places = [values.index(getattr(trial.settings, name)) for trial in found.trials]
        ratios = [trial.ratio for trial in found.trials]
        spread = [[r.value - r.low for r in ratios], [r.high - r.value for r in ratios]]
        axis.errorbar(places, [r.value for r in ratios], yerr=spread, fmt="o", color="#1f6f8b", alpha=0.6, capsize=2)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_xticks(range(len(values)), [str(value) for value in values])
        axis.set_xlabel(name)
        axis.set_ylabel("times as fast")
        axis.spines[["top", "right"]].set_visible(False)
    canvas.suptitle(visible(title))
    save_picture(canvas, path)
