"""Sweep designs read from files, written by an earlier sweep or by another program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from intact._base.errors import FormatError, ParameterError
from intact.evaluate.files import damaged, read_document
from intact.evaluate.results import typed
from intact.evaluate.sweep.run import FORMAT, VERSION, Problems
from intact.evaluate.sweep.search import SHARE, Design
from intact.evaluate.sweep.space import PROMPT, SAMPLING, SweepTrial
from intact.reason.registry import find
from intact.tasks.choose import choose
from intact.tasks.task import Item

_FILE = {"format": (str,), "version": (int,), "tasks": (dict,), "sampling": (dict,), "design": (dict,)}
_DESIGN = {
    "trials": (list,), "training": (list,), "held_out": (list,), "rungs": (list,), "tokens": (int,), "factor": (int,),
    "finalists": (int,), "margin": (float,), "level": (float,), "seed": (int,),
}  # fmt: skip
_TRIAL = {"method": (str,), "parameters": (dict,), "sampling": (dict,), "prompt": (dict,)}


class RecordedDesign(NamedTuple):
    """A design with its problems and the sampling parameters of all its settings."""

    design: Design
    problems: Problems
    sampling: dict[str, Any]


def read_design(path: Path) -> RecordedDesign:
    """Read ``design.json`` or ``sweep.json`` of a sweep, or any file with the fields that a design needs.

    These are `format`, `version`, `sampling`, `design`, and the `label` of both `tasks`; the labels of trials are
    derived. Models named in the file are ignored.

    Raises
    ------
    FormatError
        If the file is not a design.
    ParameterError
        If it is missing, or names an unknown method, parameter or problem.
    """
    value = read_document(path, FORMAT, VERSION, "a design of `intact sweep`")
    with damaged(path):
        typed(value, _FILE)
        own = typed(value["design"], _DESIGN)
        labels = {part: typed(value["tasks"][part], {"label": (str,)})["label"] for part in ("training", "held_out")}
        trials = tuple(read_trial(trial) for trial in own["trials"])
        names = {part: [str(name) for name in own[part]] for part in ("training", "held_out")}
        first, share = int(own["rungs"][0]), float(own.get("share", SHARE))
    parts = {part: _items(path, labels[part], names[part]) for part in labels}
    design = Design(
        trials,
        tuple(names["training"]),
        tuple(names["held_out"]),
        first=first,
        share=share,
        **{name: own[name] for name in ("tokens", "factor", "finalists", "margin", "level", "seed")},
    )
    if list(design.rungs) != own["rungs"]:
        raise FormatError(f"{path}: rungs are {own['rungs']}, but the factor gives {list(design.rungs)}")
    problems = Problems(labels["training"], labels["held_out"], parts["training"], parts["held_out"])
    return RecordedDesign(design, problems, value["sampling"])


def read_trial(value: Any) -> SweepTrial:
    """Return the setting described by an object with `method`, `parameters`, `sampling` and `prompt`.

    Raises
    ------
    TypeError, KeyError
        If it is not such an object.
    ParameterError
        If there is no such method or parameter.
    """
    own = typed(value, _TRIAL)
    for part, known in (("sampling", SAMPLING), ("prompt", PROMPT)):
        if unknown := sorted(set(own[part]) - set(known)):
            raise ParameterError(f"{unknown[0]} is not a {part} parameter of a setting")
    return SweepTrial(own["method"], find(own["method"]).read(own["parameters"]), own["sampling"], own["prompt"])


def _items(path: Path, label: str, names: Sequence[str]) -> tuple[Item, ...]:
    items: Mapping[str, Item] = {item.id: item for item in choose(label).load()}
    missing = [name for name in names if name not in items]
    if missing:
        others = f", nor {len(missing) - 1} others of the file" if missing[1:] else ""
        raise ParameterError(f"{path}: {label} has no problem {missing[0]}{others}")
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise ParameterError(f"{path}: the problem {twice} occurs twice in one part")
    return tuple(items[name] for name in names)
