"""Resolve a model name to its file, pulling it if necessary, and load the model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import ParameterError
from intact._base.memory import parse_size
from intact.checkpoints.catalogue import DEFAULT, Entry, HubName, MissingModelError, entry, resolve
from intact.cli.output import err, note, size, spinner, stage_bar
from intact.measure.bench.tuned import load_arguments

if TYPE_CHECKING:
    from intact.checkpoints.download import Pulled, PullPlan, Report
    from intact.library import Model
    from intact.tasks.task import Task

ADAPTER: Final = "adapter"
"""The name given to an adapter; receipts identify it by its weights."""
observers: list[Callable[[str, Any], None]] = []
"""Callbacks called with the name and the model whenever a model is loaded."""
_STAGES = {"fetch": "fetching", "unpack": "unpacking", "check": "checking", "wait": "waiting for another pull of"}


def pull_with_progress(model: Entry | PullPlan) -> Pulled:
    """Pull a model from the catalogue, or a chosen one from the hub, with a progress bar on stderr."""
    from intact.checkpoints.download import PullPlan, pull, pull_planned

    with _progress(str(model.name)) as report:
        return pull_planned(model, report) if isinstance(model, PullPlan) else pull(model, report=report)


def fetch_problems(task: Task) -> list[Pulled]:
    """Fetch all files of a task's full set, with a progress bar on stderr.

    Raises
    ------
    ParameterError
        If the task's files cannot be fetched by name.
    DownloadError
        As for `intact.checkpoints.download.fetch_from_github`.
    """
    from intact.checkpoints.download import fetch_from_github
    from intact.tasks.data import data_folder, fetched_folder

    if not task.upstream:
        if task.called or not any(task.files.values()):
            raise ParameterError(f"{task.called or task.name} has no files to fetch: leave --fetch out")
        where = ", ".join(str(data_folder() / file) for file in dict.fromkeys(task.files.values()))
        raise ParameterError(f"{task.name} cannot be fetched by name: get it from {task.source} and put it at {where}")
    fetched = []
    for split, file in {task.files[split]: (split, file) for split, file in task.upstream.items()}.values():
        name = task.files[split] + (".gz" if file.path.endswith(".gz") else "")
        with _progress(name) as report:
            fetched.append(replace(fetch_from_github(file, fetched_folder() / name, report), name=name))
    return fetched


@contextmanager
def _progress(name: str) -> Iterator[Report]:
    """Show a progress bar on stderr; yield the callback for reporting progress."""
    from rich.markup import escape
    from rich.progress import DownloadColumn, TransferSpeedColumn

    name = escape(name)
    with stage_bar(f"fetching {name}", DownloadColumn(), TransferSpeedColumn()) as show_stage:
        yield lambda stage, done, total: show_stage(f"{_STAGES[stage]} {name}", done, total)


def locate(model: str) -> Path:
    """Return the file or folder of a model given by name or path.

    The default model is pulled on first use, others after asking.

    Raises
    ------
    MissingModelError
        If it is not on this machine and the user did not agree to a pull.
    ParameterError
        If there is no such name or path.
    """
    try:
        return resolve(model)
    except MissingModelError as missing:
        default = missing.name == DEFAULT
        if not (default or (sys.stdin.isatty() and sys.stderr.isatty())):
            raise
        chosen, facts = find_source(missing.name)
        if default:
            note(f"first use: fetching {DEFAULT} ({facts})")
        elif not _agreed(f"{chosen.name} is not here yet: about {facts}. Pull it now?", default=True):
            raise
        return pull_with_progress(chosen).path


def find_source(name: str | HubName) -> tuple[Entry | PullPlan, str]:
    """Return what pulling a name would fetch, with its size and licence (for names on the hub, as stated there).

    Raises
    ------
    DownloadError, ParameterError
        If there is no such model.
    """
    from intact.checkpoints.download import plan_pull

    if isinstance(name, HubName):
        planned = plan_pull(name)
        return planned, f"{size(planned.bytes)}, licence {planned.listing.licence}"
    found = entry(name)
    return found, f"{size(found.size)}, {found.licence}"


def _agreed(question: str, default: bool) -> bool:
    answer = err().input(f"{question} [{'Y/n' if default else 'y/N'}] ", markup=False).strip().lower()
    return answer in ("y", "yes") or (default and not answer)


def agreed_to(question: str) -> bool:
    """Ask a question whose default is no; the answer is no if there is no terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty() and _agreed(question, default=False)


def _note_faster_tier() -> None:
    """Report, only once, that a faster tier was not built; ``intact doctor`` always reports it."""
    from intact.cli.log_store import state_folder
    from intact.executors.native import describe_faster_tier

    message = describe_faster_tier()
    if message is None or "INTACT_ISA" in os.environ:
        return
    noted = state_folder() / "noted-faster-tier"
    if not noted.exists():
        note(message)
        with suppress(OSError):
            noted.parent.mkdir(parents=True, exist_ok=True)
            noted.touch()


def load(
    model: str,
    profile: Any,
    threads: int | None,
    cache_bytes: int | None = None,
    *,
    drafter: str | None = None,
    draft_model: str | None = None,
    adapter: Path | None = None,
    tensor_parallel: str | None = None,
    pipeline_parallel: str | None = None,
    prefill: str | None = None,
    weights_memory: str | None = None,
    **options: Any,
) -> Model:
    """Locate a model and load it, with a spinner on stderr; options are those of `intact.load`.

    Settings that `intact tune` found for the model apply unless parameters or `options` override them.
    """
    _note_faster_tier()
    path = locate(model)
    drafts = None if draft_model is None else locate(draft_model)
    options = load_arguments(path, threads=threads, drafter=drafter, draft_model=drafts) | options
    if adapter is not None:
        options |= {"adapters": {ADAPTER: adapter}, "adapter": ADAPTER}
    processes = {"tensor_parallel": tensor_parallel, "pipeline_parallel": pipeline_parallel, "prefill": prefill}
    options |= {name: value for name, value in processes.items() if value is not None}
    if weights_memory is not None:
        options["weights_memory"] = parse_size(weights_memory, "--weights-memory")
    import intact

    with spinner(f"loading {path.name}"):
        loaded = intact.load(path, profile=profile, cache_bytes=cache_bytes, **options)
    for observe in observers:
        observe(model, loaded)
    return loaded
