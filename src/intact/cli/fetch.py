"""From the name of a model to its file, pulled on the way if need be, and to the loaded model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intact.catalogue import CATALOGUE, DEFAULT, Entry, MissingModelError, resolve
from intact.cli.output import bar, err, note, size, spinner

if TYPE_CHECKING:
    from intact.download import Pulled
    from intact.library import Model

observers: list[Callable[[str, Any], None]] = []
"""Told of every model that is loaded: the name it goes by, and the model."""
_STAGES = {"fetch": "fetching", "unpack": "unpacking", "check": "checking", "wait": "waiting for another pull of"}


def pull_with_progress(entry: Entry) -> Pulled:
    """Pull a model, with a progress bar on stderr."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    from intact.download import pull

    with bar(DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task(f"fetching {entry.name}", total=None)
        stage = ""

        def report(now: str, done: int, total: int | None) -> None:
            nonlocal stage
            if now != stage:
                stage = now
                progress.reset(task, total=total, completed=done, description=f"{_STAGES[now]} {entry.name}")
            else:
                progress.update(task, completed=done, total=total)

        return pull(entry, report=report)


def locate(model: str) -> Path:
    """Return the file of a catalogue name or path. The default model is pulled on first use, others after a question.

    Raises
    ------
    MissingModelError
        It is not here and nobody said yes.
    ParameterError
        No such name or path.
    """
    try:
        return resolve(model)
    except MissingModelError:
        entry = CATALOGUE[model]
        if model != DEFAULT and not _agreed(entry):
            raise
        if model == DEFAULT:
            note(f"first use: fetching {model} ({size(entry.size)}, {entry.licence})")
        return pull_with_progress(entry).path


def _agreed(entry: Entry) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    question = f"{entry.name} is not here yet: about {size(entry.size)}, {entry.licence}. Pull it now? [Y/n] "
    return err().input(question, markup=False).strip().lower() in ("", "y", "yes")


def load(model: str, profile: Any, threads: int | None, cache_bytes: int | None = None, **options: Any) -> Model:
    """Locate a model and load it; a spinner on stderr if that takes a while. Options are those of `intact.load`."""
    path = locate(model)
    import intact

    with spinner(f"loading {path.name}"):
        loaded = intact.load(path, profile=profile, threads=threads, cache_bytes=cache_bytes, **options)
    for observe in observers:
        observe(model, loaded)
    return loaded
