"""Recorded runs of other tasks and models: the gain of each setting over a baseline on the same problems.

The gain of a setting is (a - a0) - price (t / t0 - 1), with a and t its accuracy and tokens, and a0 and t0 those of the
baseline. By the rule for a sweep's verdict, losing `margin` in accuracy for `share` of the tokens gains nothing: price
= margin / (1 - share), 0.06 by default.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from intact._base.errors import FormatError, IntactError, ParameterError
from intact.evaluate import files
from intact.evaluate.results import EvaluationRun, ItemRecord, typed
from intact.evaluate.sweep.recorded import read_trial
from intact.evaluate.sweep.run import FORMAT, VERSION
from intact.evaluate.sweep.space import PROMPT, SAMPLING, SweepTrial
from intact.reason.registry import find
from intact.tasks.choose import choose

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_UNITS: Final = {"b": 1e9, "m": 1e6}
_SWEEP = {"version": (int,), "models": (list,), "tasks": (dict,), "design": (dict,), "judgement": (dict,)}


class RecordFeatures(NamedTuple):
    """Facts about a task and a model that are known before settings are tried; None and "" if unknown.

    Attributes
    ----------
    size : float or None
        The model's number of parameters, according to its name (``1.5b``).
    accuracy : float or None
        The baseline's share of right answers, in [0, 1].
    answers : str
        The class that reads the task's answers, such as ``Numeric`` or ``Choice``.
    """

    size: float | None = None
    accuracy: float | None = None
    answers: str = ""


class SettingGain(NamedTuple):
    """A setting's gain over the baseline, and the number of problems that both answered."""

    trial: SweepTrial
    gain: float
    problems: int


class SettingRecord(NamedTuple):
    """The settings that were tried on one task with one model.

    Attributes
    ----------
    name : str
        Task and model.
    gains : mapping of str to SettingGain
        Gains by the settings' keys, without the baseline.
    """

    name: str
    features: RecordFeatures
    gains: Mapping[str, SettingGain]


def size_of(name: str) -> float | None:
    """Return the number of parameters in a model's name; None if it states none.

    >>> size_of("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"), size_of("phi3"), size_of("135M")
    (1500000000.0, None, 135000000.0)
    """
    found = _SIZE.search(name.replace("_", "-"))
    return None if found is None else float(found[1]) * _UNITS[found[2].lower()]


def answers_of(label: str) -> str:
    """Return the class that reads a task's answers, as `RecordFeatures.answers`; "" if the task is unknown."""
    try:
        kinds = type(choose(label).task).__mro__
    except IntactError:
        return ""
    return next(kind.__name__ for kind in kinds if "read" in vars(kind))


def read_records(paths: Sequence[Path], baseline: SweepTrial, price: float) -> list[SettingRecord]:
    """Read results of sweeps, and result files of `intact eval`, as records sorted by name.

    Each sweep is a record. Result files of the same model and task form one record, and one of the files must contain
    the baseline.

    Raises
    ------
    ParameterError
        If a file is missing, or has a baseline other than the given one.
    FormatError
        If a file is of a different kind, or damaged.
    """
    found: list[SettingRecord] = []
    runs: list[tuple[Path, EvaluationRun]] = []
    for path in paths:
        if path.suffix == ".jsonl":
            runs.append((path, files.read(path)))
        else:
            found.append(_of_sweep(path, baseline, price))
    found += _of_runs(runs, baseline, price)
    names = [record.name for record in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ParameterError(f"two records are for {twice}: give only one of them, or result files instead of a sweep")
    return sorted(found, key=lambda record: record.name)


def _gain(right: int, tokens: int, of: tuple[int, int], problems: int, price: float) -> float:
    """Return the gain over the baseline from right answers and tokens on the same number of problems."""
    return (right - of[0]) / problems - price * (tokens / max(1, of[1]) - 1)


def _of_sweep(path: Path, baseline: SweepTrial, price: float) -> SettingRecord:
    what = "the result of a sweep (sweep.json) or a result file of intact eval (.jsonl)"
    value = files.read_document(path, FORMAT, VERSION, what)
    if "judgement" not in value:
        raise FormatError(f"{path} is not {what}")
    with files.damaged(path, ParameterError):
        typed(value, _SWEEP)
        trials = [read_trial(trial) for trial in value["design"]["trials"]]
        if trials[0].key != baseline.key:
            raise ParameterError(
                f"{path} has the baseline {trials[0].label}, but gains are relative to {baseline.label}: name "
                "another baseline with --baseline, or leave the file out"
            )
        gains: dict[str, SettingGain] = {}
        for rung in value["rungs"]:  # later rungs have more problems and replace earlier ones
            points = {point["trial"]: (int(point["right"]), int(point["tokens"])) for point in rung["settings"]}
            _add(gains, trials, points, rung["problems"], price=price)
        rows = {row["trial"]: (int(row["right"]), int(row["tokens"])) for row in value["judgement"]["settings"]}
        problems = value["judgement"]["problems"]
        _add(gains, trials, rows, problems, price=price)  # unbiased, unlike the search, which favours lucky finalists
        about, model = value["tasks"]["held_out"], value["models"][0]
        features = RecordFeatures(size_of(model["name"]), rows[0][0] / problems, answers_of(about["label"]))
        return SettingRecord(f"{about['label']}, {model['name']}", features, gains)


def _add(
    gains: dict[str, SettingGain],
    trials: Sequence[SweepTrial],
    points: Mapping[int, tuple[int, int]],
    problems: int,
    price: float,
) -> None:
    """Store the gains of trials over the first one, replacing earlier ones."""
    for trial, (right, tokens) in points.items():
        if trial:
            gains[trials[trial].key] = SettingGain(
                trials[trial], _gain(right, tokens, points[0], problems, price=price), problems
            )


def _of_runs(runs: Sequence[tuple[Path, EvaluationRun]], baseline: SweepTrial, price: float) -> list[SettingRecord]:
    groups: dict[str, list[tuple[Path, EvaluationRun, int]]] = defaultdict(list)
    for path, run in runs:
        for place, about in enumerate(run.manifest["tasks"]):
            plain = _without_options(about["label"])
            models = [{name: value for name, value in one.items() if name != "name"} for one in run.manifest["models"]]
            groups[json.dumps([plain, models], sort_keys=True)].append((path, run, place))
    return [_of_group(group, baseline, price) for group in groups.values()]


def _of_group(group: Sequence[tuple[Path, EvaluationRun, int]], baseline: SweepTrial, price: float) -> SettingRecord:
    """Return the record of runs of one task with one model.

    Sampling parameters that all runs share, such as `max_tokens`, and task options that they share, such as a style,
    are not part of their settings, unless the method declares them itself.
    """
    options = [_options(run.manifest["tasks"][place]["label"]) for _, run, place in group]
    samplings = [run.manifest["method"].get("sampling", {}) for _, run, _ in group]
    found: dict[str, tuple[SweepTrial, dict[tuple[int, str], ItemRecord]]] = {}
    for (path, run, place), prompt, sampling in zip(group, options, samplings, strict=True):
        about = run.manifest["method"]
        method = find(about["name"])
        own = {
            name: value
            for name, value in sampling.items()
            if name in SAMPLING and (name in method.sampling or not _alike(name, samplings))
        }
        own_prompt = {name: value for name, value in prompt.items() if not _alike(name, options)}
        trial = SweepTrial(about["name"], method.read(about["parameters"]), own, own_prompt)
        if trial.key in found:
            raise ParameterError(
                f"{path} has the same setting as another file, {trial.label}, with the same task and model"
            )
        found[trial.key] = trial, {(one.seed, one.id): one for one in run.records if one.task == place}
    about, model = group[0][1].manifest["tasks"][group[0][2]], group[0][1].manifest["models"][0]["name"]
    name = f"{about['label'] if len(group) == 1 else _without_options(about['label'])}, {model}"
    if baseline.key not in found:
        raise ParameterError(
            f"no result file of {name} has the setting {baseline.label}, to which gains are relative: add one, or name "
            "another setting with --baseline"
        )
    _, usual = found.pop(baseline.key)
    gains = {}
    for key, (trial, records) in found.items():
        common = [(one, usual[place]) for place, one in records.items() if place in usual]
        if not common:
            raise ParameterError(f"{trial.label} and {baseline.label} have no problem of {name} in common")
        right, tokens, right0, tokens0 = (
            sum(values)
            for values in zip(
                *[(bool(a.correct), a.cost["tokens"], bool(b.correct), b.cost["tokens"]) for a, b in common],
                strict=True,
            )
        )
        gains[key] = SettingGain(trial, _gain(right, tokens, (right0, tokens0), len(common), price=price), len(common))
    accuracy = sum(bool(one.correct) for one in usual.values()) / max(1, len(usual))
    return SettingRecord(name, RecordFeatures(size_of(model), accuracy, answers_of(about["label"])), gains)


def _alike(name: str, stated: Sequence[Mapping[str, Any]]) -> bool:
    return len({repr(one.get(name)) for one in stated}) == 1


def _options(label: str) -> dict[str, str]:
    """Return the options in a task's label that are axes of a space."""
    pairs = [part.partition("=") for part in label.partition(":")[2].split(",") if part]
    return {name: value for name, _, value in pairs if name in PROMPT}


def _without_options(label: str) -> str:
    """Return a task's label without the options that are axes of a space."""
    name, _, rest = label.partition(":")
    kept = [part for part in rest.split(",") if part and part.partition("=")[0] not in PROMPT]
    return f"{name}:{','.join(kept)}" if kept else name
