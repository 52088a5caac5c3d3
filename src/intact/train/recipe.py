"""Recipes: TOML files that say what is trained, how, and on what data; they name pieces, never paths or imports."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from math import ceil
from pathlib import Path, PureWindowsPath
from typing import Any, Final

from intact._base.errors import FormatError, ParameterError
from intact._base.files import read_text
from intact._base.strict_json import is_too_deep
from intact._base.suggest import unknown_name
from intact.checkpoints.catalogue import is_name
from intact.train.aliases import ALIASES, without_aliases
from intact.train.data import DataSettings
from intact.train.examples import Labelled, Row
from intact.train.rationals import rational
from intact.train.settings import TrainSettings

MOST_BYTES: Final = 1 << 16
"""Maximum size of a recipe."""
MOST_DEPTH: Final = 4
_KINDS: Final = ("loss", "parameters", "optimiser", "schedule")
_OWN: Final = ("task", "model", "teacher", "data", "epochs")
_FILES: Final = ("train", "held")


@dataclass(frozen=True)
class TaskDefaults:
    """Defaults of a kind of training, and the row formats that it accepts."""

    summary: str
    formats: tuple[str, ...]
    loss: str
    parameters: str
    rate: str


_SEQUENCES: Final = ("text", "messages", "prompt_completion")
TASKS: Final[Mapping[str, TaskDefaults]] = {
    "sft": TaskDefaults("Learn to write texts or answers", _SEQUENCES, "cross_entropy", "lora", rate="1e-4"),
    "preference": TaskDefaults("Prefer some answers to others", ("preference",), "preference", "lora", rate="5e-5"),
    "distil": TaskDefaults("Imitate another model's distributions", _SEQUENCES, "distil", "lora", rate="1e-4"),
    "heads": TaskDefaults("Train a classifier on hidden rows", ("labelled",), "cross_entropy", "head", rate="1e-3"),
}


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe.

    Attributes
    ----------
    task : str
        A key of `TASKS`.
    settings : mapping
        Arguments of `TrainSettings`; `settings_for` makes them.
    data : DataSettings
    model, teacher : str or None
        Names in the catalogue.
    train, held : str or None
        Names of a data file or folder in the recipe's folder.
    epochs : Fraction or None
        Number of passes over the data, if it determines the number of steps.
    """

    task: str
    settings: Mapping[str, Any]
    data: DataSettings = field(default_factory=DataSettings)
    model: str | None = None
    teacher: str | None = None
    train: str | None = None
    held: str | None = None
    epochs: Fraction | None = None

    def settings_for(self, rows: Sequence[Row]) -> TrainSettings:
        """Return the settings of a run on these rows.

        Raises
        ------
        ParameterError
            If a setting is invalid.
        """
        given = dict(self.settings)
        if self.epochs is not None:
            batch = given.get("batch", TrainSettings.batch)
            if type(batch) is not int or batch < 1:
                raise ParameterError(f"batch must be a natural number, got {batch!r:.40}")
            given["steps"] = ceil(self.epochs * len(rows) / batch)
        parameters = given["parameters"]
        if parameters["name"] == "head" and "classes" not in parameters:
            labels = [row.label for row in rows if isinstance(row, Labelled)]
            given["parameters"] = {**parameters, "classes": max(2, max(labels, default=0) + 1)}
        return TrainSettings(**given)


def read_recipe(path: Path, task: str | None = None) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    task : str, optional
        The kind of training; by default, the recipe's member `task` says it.

    Raises
    ------
    FormatError
        If the file is missing, too large, or not TOML.
    ParameterError
        If a member is unknown or invalid.
    """
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise FormatError(f"{path} has {path.stat().st_size:,} bytes; expected at most {MOST_BYTES:,}")
    text = read_text(path)
    try:
        given = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"{path} is not valid TOML: {error!s:.200}") from error
    if is_too_deep(given, "[" * (MOST_DEPTH + 1), MOST_DEPTH):
        raise FormatError(f"{path} is nested too deeply")
    try:
        return make_recipe(given, task)
    except ParameterError as error:
        raise ParameterError(f"{path.name}: {error}") from error


def make_recipe(given: Mapping[str, Any], task: str | None = None) -> Recipe:
    """Return a recipe from its members.

    Raises
    ------
    ParameterError
        If a member is unknown or invalid.
    """
    found = without_aliases(given)
    own_task = found.pop("task", None)
    if task is not None and own_task not in (None, task):
        raise ParameterError(f"the recipe is for intact train {own_task!s:.40}, not for {task}")
    task = task or own_task
    if not isinstance(task, str) or task not in TASKS:
        raise ParameterError(f"task must be one of {', '.join(TASKS)}, got {task!r:.40}")
    known = [one.name for one in fields(TrainSettings)]
    for name in found:
        if name not in known and name not in _OWN:
            raise ParameterError(
                unknown_name(f"unknown member {name!r:.60}", name, [*known, *_OWN, *ALIASES], "known:")
            )
    data = found.pop("data", {})
    data = {"train": data} if isinstance(data, str) else data
    files, data = _data(data)
    names = {kind: _model_name(kind, found.pop(kind, None)) for kind in ("model", "teacher")}
    epochs = found.pop("epochs", None)
    if epochs is not None and "steps" in found:
        raise ParameterError("epochs and steps are both given; give only one of them")
    passes = None if epochs is None else rational("epochs", epochs)
    if passes is not None and not 0 < passes <= 1 << 20:
        raise ParameterError(f"epochs must lie in (0, 2^20], got {epochs!r:.40}")
    return Recipe(task, _with_defaults(found, task), data, **names, **files, epochs=passes)


def _with_defaults(found: dict[str, Any], task: str) -> dict[str, Any]:
    """Return settings with the pieces of a kind of training where none are named."""
    defaults = TASKS[task]
    own: dict[str, Any] = {"loss": defaults.loss, "parameters": defaults.parameters}
    for kind in _KINDS:
        value = found.get(kind, {})
        value = {"name": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            raise ParameterError(f"{kind} must be a name or a table, got {value!r:.40}")
        usual = own.get(kind, getattr(TrainSettings, kind))
        found[kind] = {"name": usual, **value}
    if found["loss"]["name"] != defaults.loss:
        raise ParameterError(f"{task} has the loss {defaults.loss}, not {found['loss']['name']!r:.40}")
    return {"rate": defaults.rate, **found}


def _data(given: Any) -> tuple[dict[str, str], DataSettings]:
    """Return the names of data files, and the other data settings."""
    if not isinstance(given, dict):
        raise ParameterError(f"data must be a file name or a table, got {given!r:.40}")
    known = [one.name for one in fields(DataSettings)]
    for name in given:
        if name not in known and name not in _FILES:
            raise ParameterError(unknown_name(f"unknown member data.{name:.60}", name, [*known, *_FILES], "known:"))
    files = {name: _file_name(f"data.{name}", given[name]) for name in _FILES if name in given}
    return files, DataSettings(**{name: value for name, value in given.items() if name in known})


def _file_name(what: str, value: object) -> str:
    """Return the name of a file in the recipe's folder."""
    plain = isinstance(value, str) and value == PureWindowsPath(value).name and value not in ("", ".", "..")
    if not plain:
        raise ParameterError(
            f"{what} is {value!r:.60}; expected the name of a file or folder beside the recipe, without other folders "
            "(--data takes any path)"
        )
    return str(value)


def _model_name(what: str, value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and is_name(value)):
        raise ParameterError(
            f"{what} is {value!r:.60}; expected a name (intact models) or hf:OWNER/REPO; the command line takes paths"
        )
    return value if isinstance(value, str) else None
