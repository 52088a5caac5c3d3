"""Run and resume trainings: find model and data, estimate, show progress, save what Ctrl-C interrupts."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from intact._base.errors import ParameterError
from intact._base.packages import check_installed
from intact.cli import fetch
from intact.cli.interruption import Interrupted
from intact.cli.options import check_output
from intact.cli.output import emit, note, show_rows, size, spinner
from intact.cli.pictures import check_plot
from intact.cli.train_output import LossBoard, TrainingBar, save_plot

if TYPE_CHECKING:
    from intact.train.base import Base
    from intact.train.data import Dataset
    from intact.train.recipe import Recipe
    from intact.train.running import Trained
    from intact.train.session import Session
    from intact.train.settings import TrainSettings

ADAPTER = "adapter"
"""Folder of the PEFT adapter within the folder of a run."""


@dataclass(frozen=True)
class Outputs:
    """Outputs besides the run's folder."""

    plot: Path | None
    tensorboard: Path | None
    json: bool

    def check(self) -> None:
        """Raise, before any work, if an output could not be written."""
        check_output("--plot", self.plot)
        if self.plot is not None:
            check_plot(self.plot)
        if self.tensorboard is not None:
            check_installed("--tensorboard", "tensorboardX")


class TrainOptions(NamedTuple):
    """The options of a command that trains."""

    recipe: Path
    task: str | None
    model: str
    teacher: str | None
    data: Path | None
    held: Path | None
    to: Path | None
    dry_run: bool
    keep_every: int
    threads: int | None


class TrainingStopped(Interrupted):
    """Ctrl-C in a training, whose state is saved."""

    def __init__(self, out: Path, step: int) -> None:
        super().__init__(out, "--to FOLDER")
        self.step = step

    def advice(self, command: str) -> str:
        """Return the command that continues the run."""
        return f"stopped after step {self.step}; to continue:\n  intact train resume {self.kept}\n"


def run_recipe(options: TrainOptions, outputs: Outputs) -> None:
    """Train as a recipe and the command line say."""
    from intact.train.base import Base
    from intact.train.estimate import check_disk, estimate, measure_rate
    from intact.train.export.folders import check_new
    from intact.train.recipe import read_recipe
    from intact.train.session import Session

    outputs.check()
    recipe = read_recipe(options.recipe, options.task)
    if options.to is None and not options.dry_run:
        raise ParameterError("give a folder for the run (--to), or --dry-run")
    if options.to is not None:
        check_new(options.to)
    model, teacher = options.model or recipe.model, options.teacher or recipe.teacher
    if not model:
        raise ParameterError("give a model (-m), or name one in the recipe")
    if recipe.task == "distil" and not teacher:
        raise ParameterError("give a teacher (--teacher), or name one in the recipe")
    with ExitStack() as stack:
        base = stack.enter_context(Base.open(fetch.locate(model)))
        other = stack.enter_context(Base.open(fetch.locate(teacher))) if teacher else None
        dataset = _load(recipe, options, base)
        settings = recipe.settings_for(dataset.rows)
        needs = estimate(base, dataset.rows, settings)
        if options.dry_run:
            with spinner("measuring the speed"):
                rate = measure_rate(base, dataset.rows, settings, teacher=other, threads=options.threads)
            _show_estimate(dataset, settings, needs, rate, json=outputs.json)
            return
        assert options.to is not None
        check_disk(options.to, needs.disk_bytes)
        if dataset.dropped:
            note(f"{dataset.dropped} rows are too long and left out")
        session = Session(_place(model), recipe.task, _place(teacher) if teacher else None)
        _train(options, base, other, dataset, settings=settings, session=session, outputs=outputs)


def run_resumed(out: Path, model: str, teacher: str, keep_every: int, threads: int | None, outputs: Outputs) -> None:
    """Continue the run of a folder."""
    from intact.train.base import Base
    from intact.train.running import TrainingInterrupted as SavedRun
    from intact.train.running import open_trained
    from intact.train.running import resume as continue_run
    from intact.train.session import load_held, load_session

    outputs.check()
    session, held = load_session(out), load_held(out)
    name = model or (session.model if session else "")
    if not name:
        raise ParameterError(f"{out} does not say where its model is: give it by -m")
    other_name = teacher or (session.teacher if session else None)
    with ExitStack() as stack:
        base = stack.enter_context(Base.open(fetch.locate(name)))
        other = stack.enter_context(Base.open(fetch.locate(other_name))) if other_name else None
        begun = 0
        if (out / "state.json").exists():
            begun = open_trained(out).state.step
        on_step = stack.enter_context(TrainingBar(begun))
        board = stack.enter_context(LossBoard(outputs.tensorboard))

        def advance(step: Any) -> None:
            on_step(step)
            board(step)

        try:
            trained = continue_run(
                out, base, held=held, teacher=other, threads=threads, keep_every=keep_every, on_step=advance
            )
        except SavedRun as saved:
            raise TrainingStopped(saved.out, saved.step) from None
        _finish(trained, base, outputs)


def _train(
    options: TrainOptions,
    base: Base,
    teacher: Base | None,
    dataset: Dataset,
    settings: TrainSettings,
    *,
    session: Session,
    outputs: Outputs,
) -> None:
    """Run all steps, and write what belongs to them."""
    from intact.train.running import TrainingInterrupted as SavedRun
    from intact.train.running import fit
    from intact.train.session import SESSION, save_session

    out = options.to
    assert out is not None

    def keep_session() -> None:
        if not (out / SESSION).exists():
            save_session(out, session, dataset.held)

    with TrainingBar() as on_step, LossBoard(outputs.tensorboard) as board:

        def advance(step: Any) -> None:
            keep_session()
            on_step(step)
            board(step)

        try:
            trained = fit(
                base,
                dataset.rows,
                settings,
                out,
                held=dataset.held,
                sources=dataset.sources,
                teacher=teacher,
                threads=options.threads,
                keep_every=options.keep_every,
                on_step=advance,
            )
        except SavedRun as saved:
            with suppress(OSError):
                keep_session()
            raise TrainingStopped(saved.out, saved.step) from None
    _finish(trained, base, outputs)


def _finish(trained: Trained, base: Base, outputs: Outputs) -> None:
    """Export the adapter into the run's folder, draw the losses, and print the result."""
    from intact.train.export import export
    from intact.train.export.run import forms_of
    from intact.train.history import read_history

    adapter = trained.out / ADAPTER
    if forms_of(trained)[:1] == ("peft",) and not adapter.exists():
        export(trained, base, adapter)
    history = read_history(trained.out)
    if outputs.plot is not None:
        save_plot(history, outputs.plot)
    held = [step.held for step in history if step.held is not None]
    facts: dict[str, Any] = {
        "folder": str(trained.out),
        "steps": trained.state.step,
        "first_loss": history[0].loss if history else None,
        "last_loss": history[-1].loss if history else None,
        "held_loss": held[-1] if held else None,
        "tokens": sum(step.tokens for step in history),
        "receipt": str(trained.receipt),
        "adapter": str(adapter) if adapter.exists() else None,
    }
    if outputs.json:
        emit(facts)
        return
    rows = [("run", facts["folder"]), ("steps", f"{facts['steps']:,}"), ("tokens", f"{facts['tokens']:,}")]
    if history:
        rows.append(("loss", f"{facts['first_loss']:.3f} in the first step, {facts['last_loss']:.3f} in the last"))
    if held:
        rows.append(("held-out loss", f"{held[-1]:.3f}"))
    rows += [(name, facts[name]) for name in ("receipt", "adapter") if facts[name]]
    show_rows(rows)


def _load(recipe: Recipe, options: TrainOptions, base: Base) -> Dataset:
    """Read the data that the command line or the recipe names."""
    from intact.train.data import load_data
    from intact.train.recipe import TASKS

    folder = options.recipe.parent
    path = options.data or (folder / recipe.train if recipe.train else None)
    if path is None:
        raise ParameterError("give data (--data), or name a file beside the recipe as data.train")
    own = recipe.held if options.data is None else None  # other data have other held-out rows
    held = options.held or (folder / own if own else None)
    with spinner(f"reading {path.name}"):
        dataset = load_data(path, base.tokenizer, base.program.context, recipe.data, held=held)
    formats = TASKS[recipe.task].formats
    if dataset.format not in formats:
        raise ParameterError(
            f"{path} has rows of the format {dataset.format}; intact train {recipe.task} takes {', '.join(formats)}"
        )
    return dataset


def _show_estimate(dataset: Dataset, settings: TrainSettings, needs: Any, rate: float, *, json: bool) -> None:
    """Print what a run would need."""
    seconds = needs.tokens / rate
    if json:
        about = {"rows": len(dataset.rows), "held_rows": len(dataset.held), "dropped": dataset.dropped}
        speed = {"tokens_per_second": rate, "hours": seconds / 3600}
        emit({**about, "steps": settings.steps, **needs._asdict(), **speed, "settings": settings.to_dict()})
        return
    show_rows(
        [
            ("rows", f"{len(dataset.rows):,} of the format {dataset.format}, and {len(dataset.held):,} held out"),
            ("steps", f"{settings.steps:,} of {settings.batch} rows"),
            ("tokens", f"{needs.tokens:,}"),
            ("trained", f"{needs.trained:,} values ({settings.parameters.name})"),
            ("memory", f"about {size(needs.memory_bytes)}"),
            ("disk", f"about {size(needs.disk_bytes)}"),
            ("speed", f"{rate:,.0f} tokens a second on this machine now"),
            ("time", _duration(seconds)),
        ]
    )


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {max(1, minutes)} min"


def _place(model: str) -> str:
    """Return a model's name, or its absolute path."""
    from intact.checkpoints.catalogue import is_name

    return model if is_name(model) else str(Path(model).absolute())
