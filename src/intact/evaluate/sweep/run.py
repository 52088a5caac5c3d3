"""Run a sweep with models: choose problems, journal answers, and write the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from intact._base import strict_json
from intact._base.errors import FormatError, ParameterError
from intact._base.files import write_whole
from intact.evaluate.manifest import manifest
from intact.evaluate.plan import Plan, plan
from intact.evaluate.results import typed
from intact.evaluate.run import Worker, run_units
from intact.evaluate.sweep.judging import judge
from intact.evaluate.sweep.search import Design, Part, Search, SweepOutcome, search
from intact.evaluate.sweep.space import SweepTrial, shuffled
from intact.evaluate.work import Done, How, work
from intact.reason.backends.base import Backend
from intact.tasks.choose import choose
from intact.tasks.likelihood import LikelihoodTask
from intact.tasks.task import Item

FORMAT, VERSION = "intact sweep", 1
SEARCHED = 60
"""The default maximum number of training problems."""
DESIGN, RESULT, HOST, JOURNAL = "design.json", "sweep.json", "sweep.host.json", "journal"
"""The files in a sweep's folder, and the folder of its journal."""
_STEP = {"trial": (int,), "part": (str,), "seconds": (float, int), "written": (int,)}


@dataclass(frozen=True)
class Problems:
    """The problems of a sweep.

    Attributes
    ----------
    label, judged_label : str
        The tasks of the training part and of the held-out part.
    training, held_out : tuple of Item
        Their problems, in the order in which they are asked.
    """

    label: str
    judged_label: str
    training: tuple[Item, ...]
    held_out: tuple[Item, ...]

    def part(self, part: Part) -> tuple[str, tuple[Item, ...]]:
        """Return the task and the problems of a part."""
        return (self.label, self.training) if part == "training" else (self.judged_label, self.held_out)


def split(
    task: str, judged: str | None = None, *, training: int | None = None, held_out: int | None = None, seed: int = 0
) -> Problems:
    """Return problems to search on and problems to judge on, in an order drawn from a seed.

    Parameters
    ----------
    task, judged : str
        The task to search on, and the task to judge on; by default, both parts come from one task.
    training, held_out : int, optional
        The sizes of the parts; by default 60 and all the rest, or half each for a small task.

    Raises
    ------
    ParameterError
        If a task is judged by likelihood or cannot be graded, or has too few problems.
    """
    for label in filter(None, (task, judged)):
        one = choose(label).task
        if isinstance(one, LikelihoodTask) or not one.graded:
            raise ParameterError(f"{label}: a sweep needs a task with generated and graded answers")
    items = {item.id: item for item in choose(task).load()}
    others = items if judged is None else {item.id: item for item in choose(judged).load()}
    names = shuffled(items, seed)
    wanted = training or min(SEARCHED, len(names) if judged else len(names) // 2)
    known = names[:wanted]
    rest = [name for name in shuffled(others, seed) if name not in set(known)]
    kept = rest[: held_out or len(rest)]
    if len(known) < wanted or not known or len(kept) < max(2, held_out or 2):
        raise ParameterError(
            f"a sweep needs {wanted} problems to search on and at least {held_out or 'two'} others to judge on, "
            f"but {task} has {len(items)}" + (f" and {judged} has {len(others)}" if judged else "")
        )
    return Problems(task, judged or task, tuple(items[name] for name in known), tuple(others[name] for name in kept))


@dataclass
class Runner:
    """A function that answers the problems of trials with models, using one journal in which trials share completions.

    Attributes
    ----------
    sampling : mapping
        Sampling parameters of all trials.
    shuffle : int, optional
        Seed of the order of work, which does not change the result.
    steps : list of dict
        For the side file: the seconds of each step that generated tokens instead of taking them all from the journal,
        and the number of these tokens.
    worker : callable, optional
        Function that does the work instead of this process, as for `intact.evaluate.run.evaluate`.
    """

    backends: Mapping[str, Backend]
    design: Design
    problems: Problems
    how: How
    sampling: Mapping[str, Any] = field(default_factory=dict)
    shuffle: int | None = None
    done: Callable[[SweepTrial, Part, Done], None] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    worker: Worker | None = None

    def plan(self, trial: SweepTrial, part: Part, start: int = 0, stop: int | None = None) -> Plan:
        """Return the plan of a trial on some problems of a part."""
        label, items = self.problems.part(part)
        empty = plan_of(trial, label, self.sampling, self.design.seed)
        return replace(empty, items=(items[start:stop],))

    def __call__(self, trial: int, part: Part, start: int, stop: int) -> list[SweepOutcome]:
        """Return the outcomes of problems, in order."""
        if stop <= start:
            return []
        own = self.design.trials[trial]
        planned, began, written = self.plan(own, part, start, stop), time.monotonic(), 0

        def progress(tokens: int) -> None:
            nonlocal written
            written = tokens
            if self.how.progress is not None:
                self.how.progress(tokens)

        done = None if self.done is None else partial(self.done, own, part)
        worker = self.worker or partial(work, self.backends)
        results = run_units(worker, planned, replace(self.how, progress=progress), shuffle=self.shuffle, done=done)
        if written:
            row = {"trial": trial, "part": part, "from": start, "to": stop}
            self.steps.append({**row, "seconds": round(time.monotonic() - began, 3), "written": written})
        return [_outcome(one) for one in results]


def plan_of(trial: SweepTrial, label: str, sampling: Mapping[str, Any], seed: int) -> Plan:
    """Return the plan of a trial on a task with only its first problem; this validates the trial completely.

    Raises
    ------
    ParameterError
        If the trial sets a parameter that is given for all trials, or the task does not support its options.
    """
    if both := sorted(set(trial.sampling) & set(sampling)):
        raise ParameterError(f"{both[0]} is an axis of the space, but is also given for all settings")
    settings = {**sampling, **trial.sampling}
    return plan([trial.task(label)], trial.method, trial.parameters, limit=1, sampling=settings, seeds=[seed])


def _outcome(one: Done) -> SweepOutcome:
    record = one.record
    if record.correct is None:
        raise ParameterError(
            f"the verdict on {record.id} is undecided, because judging ran out of time or memory: run the same command "
            "again to retry and continue"
        )
    error = record.error or "it failed" if record.why == "failed" else ""
    return SweepOutcome(record.correct, record.cost["tokens"], record.cost["operations"], error)


def run_sweep(runner: Runner, folder: Path) -> dict[str, Any]:
    """Run a sweep in a folder, and return its result, whose bytes depend only on the design and the model.

    The design is written first (``design.json``) and the result last (``sweep.json``); seconds are written after each
    step (``sweep.host.json``). A sweep that was killed resumes from the journal.

    Raises
    ------
    ParameterError
        If the folder contains another sweep; also as `intact.evaluate.sweep.search.search`.
    """
    stated = describe(runner)
    write_design(folder, stated)
    earlier = read_steps(folder)

    def answer(trial: int, part: Part, start: int, stop: int) -> list[SweepOutcome]:
        outcomes = runner(trial, part, start, stop)
        write_whole(folder / HOST, as_bytes({"steps": earlier + runner.steps}))
        return outcomes

    found = search(runner.design, answer)
    result = stated | result_of(found)
    write_whole(folder / RESULT, as_bytes(result))
    return result


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """Return the steps in a folder's side file; an empty list if it is missing or damaged."""
    try:
        steps = strict_json.parse((folder / HOST).read_bytes(), str(folder / HOST), error=FormatError)["steps"]
        return [typed(step, _STEP) for step in steps]
    except (OSError, FormatError, KeyError, TypeError):
        return []


def describe(runner: Runner) -> dict[str, Any]:
    """Return the design with the digests of models and tasks."""
    parts: Sequence[Part] = ("training", "held_out")
    manifests = [manifest(runner.plan(runner.design.trials[0], part), runner.backends) for part in parts]
    return {
        "format": FORMAT,
        "version": VERSION,
        "models": manifests[0]["models"],
        "tasks": dict(zip(parts, (one["tasks"][0] for one in manifests), strict=True)),
        "sampling": dict(runner.sampling),
        "now": manifests[0]["now"],
        "caveats": manifests[0]["caveats"],
        "design": runner.design.as_dict(),
    }


def write_design(folder: Path, stated: Mapping[str, Any]) -> None:
    """Write a design to a new folder; raise ParameterError if it contains another one."""
    file, data = folder / DESIGN, as_bytes(stated)
    if file.exists() and file.read_bytes() != data:
        raise ParameterError(
            f"{folder} contains another sweep: resume it (--design {file}), or choose another folder with --out "
            f"(its answers can be reused: --journal {folder / JOURNAL})"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, data)


def result_of(found: Search) -> dict[str, Any]:
    """Return the result of a search as a JSON object."""
    rungs = [
        {
            "problems": rung.problems,
            "settings": [{"trial": trial, **point._asdict()} for trial, point in rung.points.items()],
            "kept": rung.kept,
            "unaffordable": rung.unaffordable,
            "failed": rung.failed,
        }
        for rung in found.rungs
    ]
    parts: Sequence[Part] = ("training", "held_out")
    spent = {part: sum(o.tokens for (_, p), own in found.outcomes.items() if p == part for o in own) for part in parts}
    return {
        "rungs": rungs,
        "untried": found.untried,
        "finalists": found.finalists,
        "judgement": judge(found),
        "spent": {**spent, "total": found.spent, "budget": found.design.tokens},
    }


def as_bytes(value: Any) -> bytes:
    """Return a value as JSON bytes."""
    return (json.dumps(value, ensure_ascii=True, indent=1, allow_nan=False) + "\n").encode()
