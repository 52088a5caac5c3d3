"""Train: run the steps of a recipe, save state and receipt, and continue runs that were stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from intact._base.errors import FormatError, ParameterError
from intact.models.adapters import Adapter
from intact.receipts.identity import root_of, version_of
from intact.train import run_folder
from intact.train.base import Base
from intact.train.draws import ORDER_RULE
from intact.train.examples import DataSource, Row, row_digest, sequences_of
from intact.train.loop.supervised import StepResult, Trainer
from intact.train.parameters.lora import Lora
from intact.train.pieces import LOGPROB_FRACTION
from intact.train.receipt.chain import state_root
from intact.train.receipt.document import MOST_STEPS, NUMERICS, TrainingHeader, TrainingReceipt, describe_data
from intact.train.run_folder import HISTORY, RECEIPT, STATES
from intact.train.settings import TrainSettings
from intact.train.state import TrainState, load_state, save_state, write_tensors

_RECENT: Final = 8
"""Number of steps over which the time left is estimated."""


class Progress(NamedTuple):
    """A finished step.

    Attributes
    ----------
    loss : float
        Mean loss, nats.
    norm : float
        Norm of the gradient before clipping.
    tokens : int
        Tokens read in this step.
    held : float or None
        Held-out loss after this step, nats.
    changed : float or None
        For LoRA, every `save_every` steps: share of the adapter's served 8-bit codes that this step changed.
    """

    step: int
    steps: int
    loss: float
    rate: float
    norm: float
    clipped: bool
    tokens: int
    tokens_per_second: float
    seconds_left: float
    held: float | None = None
    changed: float | None = None


OnStep = Callable[[Progress], None]


class TrainingInterrupted(KeyboardInterrupt):
    """A run that was interrupted after saving its state; `out` is its folder."""

    def __init__(self, out: Path, step: int) -> None:
        super().__init__(f"stopped after step {step}; the state is saved in {out}: intact train resume {out}")
        self.out, self.step = out, step


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished or interrupted run.

    Attributes
    ----------
    out : Path
        Folder of the run.
    settings : TrainSettings
    state : TrainState
        The state after the last step.
    receipt : Path
        The training receipt.
    """

    out: Path
    settings: TrainSettings
    state: TrainState
    receipt: Path

    def adapter(self) -> Adapter:
        """Return the trained adapter or vectors as the engine serves them, in the model's own row order.

        Raises
        ------
        ParameterError
            If the run trained something else.
        """
        make = getattr(self.settings.parameters, "as_adapter", None)
        if make is None:
            raise ParameterError(f"{self.out} trained {self.settings.parameters.name}, which is not an adapter")
        adapter: Adapter = make(self.state.tensors, self.out)
        return adapter


def fit(
    base: Base | str | os.PathLike[str],
    rows: Sequence[Row],
    settings: TrainSettings,
    out: str | os.PathLike[str],
    *,
    held: Sequence[Row] = (),
    sources: Sequence[DataSource] = (),
    teacher: Base | str | os.PathLike[str] | None = None,
    threads: int | None = None,
    tier: str | None = None,
    parts: int = 1,
    keep_every: int = 0,
    on_step: OnStep | None = None,
) -> Trained:
    """Train on rows of data, and write the run's folder.

    Parameters
    ----------
    base : Base, name or path
        The model.
    rows : sequence of Row
        Training data after templating.
    out : path
        Folder to be created.
    held : sequence of Row
        Rows whose loss is computed every `held_every` steps.
    sources : sequence of DataSource
        Files that the rows come from, as the receipt states them.
    teacher : Base, name or path, optional
        The model to imitate, for the loss `distil`.
    threads, tier, parts
        They change no bit of the result.
    keep_every : int
        Keep the state of every so many steps, so that others can replay single steps; 0 for none.
    on_step : callable, optional
        Called with a `Progress` after each step.

    Returns
    -------
    Trained

    Raises
    ------
    ParameterError
        If the settings do not fit the model or the data, or `out` exists.
    TrainingInterrupted
        If a KeyboardInterrupt arrives; the last whole step is saved.
    """
    with _opened(base) as model, _opened(teacher) as other:
        assert model is not None
        check_rows(model, rows, settings, other)
        check_rows(model, held, settings, other)
        trainer = Trainer(model, rows, settings, teacher=other, threads=threads, tier=tier, parts=parts)
        try:
            state = trainer.start()
            folder = Path(out)
            run_folder.create(folder, make_header(trainer, state, sources, other), rows)
            return _run(trainer, state, folder=folder, held=held, keep_every=keep_every, on_step=on_step)
        finally:
            trainer.close()


def resume(
    out: str | os.PathLike[str],
    base: Base | str | os.PathLike[str],
    rows: Sequence[Row] | None = None,
    *,
    held: Sequence[Row] = (),
    teacher: Base | str | os.PathLike[str] | None = None,
    threads: int | None = None,
    tier: str | None = None,
    parts: int = 1,
    keep_every: int = 0,
    on_step: OnStep | None = None,
) -> Trained:
    """Continue a run that was stopped or killed; the result has the same bits as if it never had been.

    Parameters
    ----------
    out : path
        Folder of the run.
    rows : sequence of Row, optional
        The training data; by default those that the folder holds.

    Raises
    ------
    FormatError
        If the folder's files are missing or damaged.
    ParameterError
        If model, data or versions are not those of the run.
    """
    folder = Path(out)
    header = run_folder.read_header(folder)
    settings = TrainSettings.from_dict(header.settings)
    data = run_folder.read_rows(folder / run_folder.ROWS) if rows is None else rows
    with _opened(base) as model, _opened(teacher) as other:
        assert model is not None
        check_rows(model, data, settings, other)
        check_rows(model, held, settings, other)
        trainer = Trainer(model, data, settings, teacher=other, threads=threads, tier=tier, parts=parts)
        try:
            start = trainer.start()
            sources = [DataSource(**one) for one in header.data["sources"]]
            check_same(header, make_header(trainer, start, sources, other), folder)
            state = _last_state(folder, header, start)
            run_folder.trim_history(folder, state.step)
            return _run(trainer, state, folder=folder, held=held, keep_every=keep_every, on_step=on_step)
        finally:
            trainer.close()


def open_trained(out: str | os.PathLike[str]) -> Trained:
    """Open the folder of a run, without its model.

    Raises
    ------
    FormatError
        If its files are missing or damaged.
    """
    folder = Path(out)
    header = run_folder.read_header(folder)
    state = load_state(folder, header.digest.hex())
    shapes = {name: list(values.shape) for name, values in state.tensors.items()}
    if shapes != header.trainable["shapes"]:
        raise FormatError(f"{folder}: the tensors of the state are not those of the header")
    return Trained(folder, TrainSettings.from_dict(header.settings), state, folder / RECEIPT)


def check_rows(base: Base, rows: Sequence[Row], settings: TrainSettings, teacher: Base | None = None) -> None:
    """Raise unless rows suit the model and the loss.

    Raises
    ------
    ParameterError
        The message names the first row that does not.
    """
    if settings.loss.needs_teacher != (teacher is not None):
        needs = "needs a teacher" if settings.loss.needs_teacher else "takes no teacher"
        raise ParameterError(f"the loss {settings.loss.name} {needs}")
    if teacher is not None and teacher.program.vocabulary != base.program.vocabulary:
        raise ParameterError(
            f"{teacher.path} has {teacher.program.vocabulary:,} tokens, but {base.path} has "
            f"{base.program.vocabulary:,}: a teacher needs the same vocabulary"
        )
    if settings.steps > MOST_STEPS:
        raise ParameterError(f"a receipt can hold {MOST_STEPS:,} steps, got {settings.steps:,}")
    classes = getattr(settings.parameters, "classes", None)
    for number, row in enumerate(rows):
        if not isinstance(row, settings.loss.rows):
            raise ParameterError(
                f"row {number} is a {type(row).__name__}, which the loss {settings.loss.name} does not accept"
            )
        for sequence in sequences_of(row):
            if len(sequence.inputs) > base.program.context:
                raise ParameterError(
                    f"row {number} has {len(sequence.inputs):,} tokens; the model's context is {base.program.context:,}"
                )
            if int(sequence.inputs.max()) >= base.program.vocabulary:
                raise ParameterError(f"row {number} has a token beyond the vocabulary of {base.program.vocabulary:,}")
            if int(sequence.targets.max()) >= (classes or base.program.vocabulary):
                raise ParameterError(f"row {number} has a target beyond the model's {classes or 'vocabulary'}")


def make_header(
    trainer: Trainer, state: TrainState, sources: Sequence[DataSource], teacher: Base | None
) -> TrainingHeader:
    """Return the header of a run at its initial state.

    Raises
    ------
    ParameterError
        If there are no rows.
    """
    settings = trainer.settings
    if not trainer.rows:
        raise ParameterError("there are no rows to train on")
    leaves = [row_digest(settings.hash, index, row) for index, row in enumerate(trainer.rows)]
    return TrainingHeader(
        {"forward": version_of(settings.profile), "training": NUMERICS},
        trainer.base.digests(settings.hash),
        teacher=None if teacher is None else teacher.digests(settings.hash),
        settings=settings.to_dict(),
        data=describe_data(len(leaves), root_of(settings.hash, leaves), sources, ORDER_RULE),
        trainable={
            "shapes": {name: list(values.shape) for name, values in state.tensors.items()},
            "root": state_root(settings.hash, 0, state.tensors, state.moments).hex(),
        },
    )


def check_same(header: TrainingHeader, own: TrainingHeader, where: Path) -> None:
    """Raise unless a run's header is the one that this machine would write.

    Raises
    ------
    ParameterError
        The message names the first member that differs.
    """
    stored, made = header.to_document(), own.to_document()
    for name, meaning in (
        ("numerics", "another version of the arithmetic"),
        ("base", "another model"),
        ("teacher", "another teacher"),
        ("data", "other data"),
        ("settings", "other settings"),
        ("trainable", "other initial values"),
    ):
        if stored[name] != made[name]:
            raise ParameterError(f"{where} is the run of {meaning} (its header's member {name} differs)")


def _last_state(folder: Path, header: TrainingHeader, start: TrainState) -> TrainState:
    if not (folder / "state.json").exists():
        return start
    state = load_state(folder, header.digest.hex())
    if state.step:
        root = state_root(header.settings["hash"], state.step, state.tensors, state.moments)
        if root != state.links[-1].state:
            raise FormatError(f"{folder}: the tensors of the state do not have the digest of its last step")
    return state


def _run(
    trainer: Trainer,
    state: TrainState,
    folder: Path,
    held: Sequence[Row],
    keep_every: int,
    on_step: OnStep | None,
) -> Trained:
    """Run the remaining steps."""
    settings = trainer.settings
    header = run_folder.read_header(folder)
    losses = _held_so_far(folder)
    saved, times = -1, [monotonic()]

    def save() -> None:
        nonlocal saved
        if saved != state.step:
            save_state(folder, state, header.digest.hex())
            TrainingReceipt(header, state.links, [one for one in losses if one[0] <= state.step]).save(folder / RECEIPT)
            saved = state.step

    try:
        while state.step < settings.steps:
            before, result = state, trainer.step(state)
            state = result.state
            times = [*times[-_RECENT:], monotonic()]
            mean = None
            if held and (state.step % settings.held_every == 0 or state.step == settings.steps):
                losses.append((state.step, *trainer.held_out(state, held)))
                mean = losses[-1][1] / (losses[-1][2] << LOGPROB_FRACTION)
            if state.step % settings.save_every == 0:
                save()
            if keep_every and state.step % keep_every == 0:
                keep_state(folder, state)
            progress = _progress(result, settings.steps, times, mean)
            if isinstance(settings.parameters, Lora) and state.step % settings.save_every == 0:
                progress = progress._replace(changed=settings.parameters.changed(before.tensors, state.tensors))
            with (folder / HISTORY).open("a", encoding="utf-8") as file:
                file.write(json.dumps(progress._asdict()) + "\n")
            if on_step is not None:
                on_step(progress)
    except KeyboardInterrupt:
        save()
        raise TrainingInterrupted(folder, state.step) from None
    save()
    return Trained(folder, settings, state, folder / RECEIPT)


def keep_state(folder: Path, state: TrainState) -> None:
    """Keep a state in the run's folder, for the replay of single steps."""
    (folder / STATES).mkdir(exist_ok=True)
    tensors = {f"tensor.{name}": values for name, values in state.tensors.items()}
    moments = {f"moment.{name}": values for name, values in state.moments.items()}
    write_tensors(folder / STATES / f"state-{state.step}.safetensors", tensors | moments)


def _progress(result: StepResult, steps: int, times: list[float], held: float | None) -> Progress:
    seconds = max(times[-1] - times[-2], 1e-9)
    left = (times[-1] - times[0]) / (len(times) - 1) * (steps - result.state.step)
    return Progress(
        result.state.step,
        steps,
        loss=result.loss,
        rate=result.rate,
        norm=result.norm,
        clipped=result.clipped,
        tokens=result.tokens,
        tokens_per_second=result.tokens / seconds,
        seconds_left=left,
        held=held,
    )


def _held_so_far(folder: Path) -> list[tuple[int, int, int]]:
    """Return the held-out losses in the receipt of an interrupted run."""
    path = folder / RECEIPT
    return list(TrainingReceipt.load(path).held) if path.exists() else []


class _opened:  # noqa: N801
    """Opens a model given by name or path, and closes it again; a `Base` stays open."""

    def __init__(self, given: Base | str | os.PathLike[str] | None) -> None:
        self._given, self._own = given, False

    def __enter__(self) -> Base | None:
        if self._given is None or isinstance(self._given, Base):
            return self._given
        self._own, self._given = True, Base.open(self._given)
        return self._given

    def __exit__(self, *_: object) -> None:
        if self._own and isinstance(self._given, Base):
            self._given.close()
