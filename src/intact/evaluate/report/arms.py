"""Runs side by side: their names, and differences that qualify or rule out a comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from intact._base.errors import ParameterError
from intact.evaluate.files import damaged, traces_of
from intact.evaluate.report.machine import A100, DEFAULT, IdealMachine, MachineChoice, ModelRuntime
from intact.evaluate.results import EvaluationRun, ItemRecord, TaskScore
from intact.evaluate.samples import direct, own_samples
from intact.reason.registry import all_methods
from intact.stats.checks import Floats
from intact.stats.laws.extrapolation import Extrapolation, extrapolate

EXTRAPOLATED = (100, 1_000, 10_000)
"""Numbers of samples to which coverage is extrapolated."""


@dataclass(frozen=True)
class ReportArm:
    """A task of a run.

    Attributes
    ----------
    name : str
        A name that distinguishes the run from the others.
    path : Path
        The run's file.
    task : int
        The task's index in the run.
    machine : ModelRuntime, IdealMachine or None
        The runtime of its model, or the machine that determines it (`intact.evaluate.report.sections.runtime`).
    measured : dict
        Results that several sections need, by the function that computes them
        (`intact.evaluate.report.sections.base.once`).
    """

    name: str
    path: Path
    run: EvaluationRun
    task: int
    machine: ModelRuntime | IdealMachine | None = A100
    measured: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def about(self) -> Mapping[str, Any]:
        """The task's entry in the manifest."""
        return self.run.manifest["tasks"][self.task]  # type: ignore[no-any-return]

    @property
    def label(self) -> str:
        """The task's name, with its parameters."""
        return str(self.about["label"])

    @cached_property
    def records(self) -> list[ItemRecord]:
        """The records of the task."""
        return [record for record in self.run.records if record.task == self.task]

    @property
    def scores(self) -> list[TaskScore]:
        """The scores of the task."""
        return [score for score in self.run.scores if score.task == self.task]

    def score(self, *metrics: str) -> TaskScore | None:
        """Return the first score with one of these metrics; None if there is none."""
        return next((score for score in self.scores if score.metric in metrics), None)

    @cached_property
    def settled(self) -> bool:
        """True if the number of samples was fixed in advance, according to the records or else to the method."""
        known = {record.independent for record in self.records}
        if known != {None}:
            return known == {True}
        method = all_methods().get(self.run.manifest["method"]["name"])
        return method is not None and method.independent

    def curve(self, kind: str) -> list[TaskScore]:
        """Return a metric's scores by number of samples, such as `pass@`; empty if that number was not fixed."""
        return [score for score in self.scores if self.settled and score.metric.startswith(kind)]

    @cached_property
    def rates(self) -> dict[str, float]:
        """The share of right answers for each problem, over seeds."""
        total = Counter(record.id for record in self.records)
        right = Counter(record.id for record in self.records if record.correct)
        return {name: right[name] / count for name, count in total.items()}

    @cached_property
    def samples(self) -> dict[str, tuple[int, int]]:
        """The numbers of samples and of right samples for each problem; empty unless they are independent draws."""
        if direct(self.records) < 2 or not self.settled:
            return {}
        drawn = Counter(record.id for record in self.records for _ in own_samples(record))
        right = Counter(record.id for record in self.records for one in own_samples(record) if one.correct)
        return {name: (count, right[name]) for name, count in drawn.items()}

    @cached_property
    def counts(self) -> tuple[Floats, Floats]:
        """The numbers of samples and of right samples for each problem, as two arrays."""
        pairs = np.array(list(self.samples.values()) or np.zeros((0, 2)))
        return pairs[:, 0], pairs[:, 1]

    @cached_property
    def law(self) -> Extrapolation:
        """The law of coverage that fits best, evaluated at `EXTRAPOLATED` and at up to 8 times the samples drawn.

        Raises
        ------
        IntactError
            If no law can be fitted.
        """
        n, c = self.counts
        most = int(n.max()) if n.size else 1
        k = np.concatenate([np.geomspace(1, 8 * most, 40).round(), EXTRAPOLATED, [2 * most]])
        return extrapolate(n, c, np.unique(k))

    @contextmanager
    def trees(self) -> Iterator[Iterator[tuple[ItemRecord, Mapping[str, Any]]]]:
        """Yield the task's records with their trees of completions, if the run has trees.

        Raises
        ------
        FormatError
            If code in the block fails on a damaged tree.
        """
        pairs = zip(self.run.records, self.run.traces, strict=False)
        with damaged(traces_of(self.path)):
            yield ((record, json.loads(text)) for record, text in pairs if record.task == self.task)


def arms_of(runs: Mapping[Path, EvaluationRun], machines: MachineChoice = DEFAULT) -> list[ReportArm]:
    """Return the tasks of all runs, run by run; tasks that a partial run has not reached are left out.

    Raises
    ------
    ParameterError
        If there is no run, or the rates of one model are given for several models.
    """
    if not runs:
        raise ParameterError("there are no runs to report")
    names = _names(runs)
    identities = {json.dumps(_identities(run)) for run in runs.values()}
    timed = {path: machines.of(_models(run), len(identities) == 1) for path, run in runs.items()}
    return [
        ReportArm(name, path, run, task, machine=timed[path])
        for name, (path, run) in zip(names, runs.items(), strict=True)
        for task in range(len(run.manifest["tasks"]))
        if any(record.task == task for record in run.records)
    ]


def _models(run: EvaluationRun) -> str:
    """Return the names of a run's models, joined by plus signs."""
    return "+".join(str(model["name"]) for model in run.manifest["models"])


def _identities(run: EvaluationRun) -> list[Any]:
    """Return the identities of a run's models: digests of weights, or identities of endpoints."""
    return [model.get("weights") or model.get("identity") or model["name"] for model in run.manifest["models"]]


def runs_of(arms: Sequence[ReportArm]) -> dict[Path, EvaluationRun]:
    """Return the runs of arms, each once."""
    return {arm.path: arm.run for arm in arms}


def _names(runs: Mapping[Path, EvaluationRun]) -> list[str]:
    """Return short distinct names: method and parameters; if needed, also the model and the file."""
    methods = [_method(run) for run in runs.values()]
    models = [str(run.manifest["models"][0]["name"]) for run in runs.values()]
    names = methods if len(set(models)) == 1 else [f"{a}, {b}" for a, b in zip(models, methods, strict=True)]
    if len(set(names)) < len(names):
        stems = [path.stem for path in runs]
        last = stems if len(set(stems)) == len(stems) else list(map(str, runs))
        names = [f"{name} ({one})" for name, one in zip(names, last, strict=True)]
    return names


def _method(run: EvaluationRun) -> str:
    method = run.manifest["method"]
    settings = [f"{name}={value}" for name, value in method["parameters"].items() if name in ("n", "k", "m", "width")]
    return f"{method['name']} {','.join(settings)}".strip()


def pairs_of(arms: Sequence[ReportArm]) -> Iterator[tuple[ReportArm, ReportArm, str, list[str]]]:
    """Yield each pair of arms of a task, the reason not to compare them (or an empty string), and other differences."""
    for one, other in combinations(arms, 2):
        if one.about["name"] != other.about["name"]:
            continue
        yield one, other, _forbids(one, other), list(_differs(one, other))


def _forbids(one: ReportArm, other: ReportArm) -> str:
    a, b = one.about["digests"], other.about["digests"]
    if one.rates.keys() != other.rates.keys():
        return "they are of different problems"
    if a["items"] != b["items"]:
        return "their problems have the same names but are not the same"
    if a["grader"] != b["grader"]:
        return "their answers were judged by different graders"
    return ""


_OF_MODELS = {
    "identity": "endpoints",
    "weights": "weights",
    "tokenizer": "tokenizers",
    "template": "chat templates",
    "numerics": "numerics",
    "profile": "profiles",
    "bits": "bits of weights",
    "mix": "mixes",
}


def _differs(one: ReportArm, other: ReportArm) -> Iterator[str]:
    a, b = one.run.manifest, other.run.manifest
    if one.about.get("sample") != other.about.get("sample"):
        yield "data sets (one is a sample with the same problems)"
    if one.about["digests"]["prompts"] != other.about["digests"]["prompts"]:
        yield "prompts"
    for name, words in _OF_MODELS.items():
        if [model.get(name) for model in a["models"]] != [model.get(name) for model in b["models"]]:
            yield words
    if a["budget"] != b["budget"]:
        yield "budgets"
