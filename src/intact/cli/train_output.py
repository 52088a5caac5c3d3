"""Progress of trainings: a bar with losses and the time left, TensorBoard files, and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from intact.cli.output import bar, occasional_note
from intact.cli.pictures import save_picture

if TYPE_CHECKING:
    from intact.train.running import Progress

_SCALARS = ("loss", "held", "rate", "norm", "tokens_per_second")


def describe_step(step: Progress) -> str:
    """Return a step in a line: losses, speed and the time left."""
    held = "" if step.held is None else f"  held-out {step.held:.3f}"
    minutes, seconds = divmod(round(step.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return (
        f"step {step.step:,} of {step.steps:,}  loss {step.loss:.3f}{held}  {step.tokens_per_second:,.0f} tokens/s  "
        f"about {left} left"
    )


class TrainingBar:
    """A progress bar on a terminal; lines now and then elsewhere, and for every held-out loss.

    Parameters
    ----------
    begun : int
        Number of steps that are already done.
    """

    def __init__(self, begun: int = 0) -> None:
        self._stack, self._begun = ExitStack(), begun
        self._occasionally = occasional_note()

    def __enter__(self) -> Self:
        self._progress: Any = self._stack.enter_context(bar())
        self._task: Any = self._progress.add_task("converting weights", total=None, completed=self._begun)
        return self

    def __call__(self, step: Progress) -> None:
        """Show a finished step."""
        self._progress.update(self._task, total=step.steps, completed=step.step, description=describe_step(step))
        self._occasionally(lambda: describe_step(step))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class LossBoard:
    """Writes TensorBoard files into a folder; does nothing without one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._writer = folder, None

    def __enter__(self) -> Self:
        if self._folder is not None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        return self

    def __call__(self, step: Progress) -> None:
        """Write a step's numbers."""
        if self._writer is not None:
            for name in _SCALARS:
                value = getattr(step, name)
                if value is not None:
                    self._writer.add_scalar(f"train/{name}", value, step.step)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def save_plot(history: Sequence[Progress], path: Path) -> None:
    """Save a plot of the losses over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([step.step for step in history], [step.loss for step in history], label="training", linewidth=1)
    held = [(step.step, step.held) for step in history if step.held is not None]
    if held:
        axes.plot(*zip(*held, strict=True), marker="o", label="held out")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    save_picture(figure, path)
