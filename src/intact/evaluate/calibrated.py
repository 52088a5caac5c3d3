"""Calibrated confidence: what a graded run says about new answers by the same model, method and settings.

The run is a result file of `intact eval`. It supports three statements about a new answer: the probability that it is
right, from graded answers of similar confidence (`intact.stats.calibration.bins_from_the_top`); a conformal set of
answers by vote share (`intact.stats.answer_sets`), used to decide whether to abstain; and bounds on the number of right
answers among the next problems (`intact.stats.prediction`). All of them hold for problems that are exchangeable with
the graded ones and asked in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from intact._base.errors import IntactError, ParameterError
from intact._base.exact import Number
from intact._base.files import sha256_of
from intact.engine.sampling.parameters import SamplingParameters
from intact.evaluate.files import read as read_result
from intact.evaluate.predicted import LEVEL, PROBLEMS, next_right, sure_words
from intact.evaluate.results import ItemRecord
from intact.evaluate.samples import Leaf, direct, first_records, leaves, own_samples
from intact.evaluate.scores import rounded
from intact.reason.driving.execution import DEFAULTS
from intact.reason.problem import Result
from intact.reason.registry import all_methods
from intact.solving.receipts.versions import versions_of_method, versions_of_task
from intact.stats.answer_sets import answer_set, least_share, right_share
from intact.stats.calibration import bins_from_the_top
from intact.stats.intervals import wilson
from intact.stats.prediction import PredictedCount
from intact.tasks.choose import choose
from intact.tasks.score.judging import noting
from intact.tasks.task import Task


class RightChance(NamedTuple):
    """The share of right answers among graded answers of similar confidence, with its Wilson interval.

    Attributes
    ----------
    right, problems : int
        The numbers of right answers and of problems.
    low, high : float
        The bounds of the interval.
    confidences : tuple of float or None
        The lowest and highest confidence of these answers; None if all graded answers are used, because the method
        states no confidence.
    """

    right: int
    problems: int
    low: float
    high: float
    confidences: tuple[float, float] | None


@dataclass(frozen=True)
class CalibratedAnswer:
    """An answer with the probability that it is right, according to a calibration run.

    Attributes
    ----------
    task : str
        The task of the run.
    sha256 : str
        The digest of the run's file.
    right, problems : int
        The numbers of right answers and of problems in the run.
    level : float
        The confidence level of every statement below.
    chance : RightChance
        The probability that the answer is right.
    answers : tuple of str, or None
        The conformal set, by vote share: it contains a right answer with probability at least `level`. None if no set
        of sampled answers does, or if the method does not support such sets.
    least : Fraction or None
        The vote share that an answer needs to be in the set.
    abstain : bool or None
        True if the answer is not the only one in the set; None if there are no sets.
    why : str
        The reason to abstain, or the reason why there are no sets.
    """

    task: str
    sha256: str
    right: int
    problems: int
    level: float
    chance: RightChance
    answers: tuple[str, ...] | None
    least: Fraction | None
    abstain: bool | None
    why: str

    @property
    def next(self) -> dict[int, PredictedCount]:
        """Bounds on the number of right answers among upcoming problems, keyed by the number of upcoming problems."""
        return next_right(self.right, self.problems, self.level)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as a JSON object; vote shares are fractions such as ``5/8``, and bounds have ten digits."""
        return {
            "task": self.task,
            "sha256": self.sha256,
            "right": self.right,
            "problems": self.problems,
            "level": self.level,
            "chance": self.chance._asdict(),
            "answers": None if self.answers is None else list(self.answers),
            "votes_needed": None if self.least is None else str(self.least),
            "abstain": self.abstain,
            "why": self.why,
            "next": {str(ahead): bounds._asdict() for ahead, bounds in self.next.items()},
            "words": list(self.words()),
        }

    def words(self) -> Iterator[str]:
        """Yield the statements as sentences."""
        chance, level = self.chance, f"{self.level:.0%}"
        alike = "" if chance.confidences is None else " that were as sure"
        yield (
            f"Of answers to {self.task}{alike}, {chance.right:,} of {chance.problems:,} are right: {level} sure that "
            f"such an answer is right with a chance between {chance.low:.0%} and {chance.high:.0%}."
        )
        if self.answers is not None:
            given = ", ".join(self.answers) or "none"
            yield f"With {self.least} of the votes or more: {given}. In {level} of problems a right answer has as many."
        if self.abstain:
            yield f"Abstain: {self.why}."
        yield f"Of all answers to {self.task}, {sure_words(self.right, self.problems, self.level)}"
        yield f"This holds for problems that are drawn as those of {self.task} were, and asked alike."


@dataclass(frozen=True)
class CalibrationRun:
    """A graded run that calibrates answers; for each problem, the answer of the first seed counts.

    Attributes
    ----------
    sha256 : str
        The digest of its file.
    manifest : mapping
        Its manifest: models, method, budget.
    task : Task
        The task, which reads answers as the run did.
    right : tuple of bool
        The verdict on each problem's answer.
    confidences : tuple of float or None, or None
        The method's own confidence in each answer, None for problems without an answer. None as a whole unless the
        method states one in [0, 1] for every answer.
    shares : tuple of Fraction, or str
        The vote share of each problem's right answer, or the reason why there are none.
    samples : int
        Number of samples for each problem, if there are shares.
    """

    sha256: str
    manifest: Mapping[str, Any]
    task: Task
    right: tuple[bool, ...]
    confidences: tuple[float | None, ...] | None
    shares: tuple[Fraction, ...] | str
    samples: int

    @property
    def label(self) -> str:
        """The task's name, with its parameters."""
        return str(self.manifest["tasks"][0]["label"])

    def differences(self, settings: Mapping[str, Any]) -> list[str]:
        """Return descriptions of how settings from `intact.evaluate.manifest.run_settings` differ from the run's."""
        found: list[str] = []
        settings = json.loads(json.dumps(settings))  # like the manifest, which was read from JSON
        mine, theirs = self.manifest["models"], settings["models"]
        if len(mine) != len(theirs):
            found.append(f"the number of models is {len(theirs)}, and {len(mine)} there")
        for own, other in zip(mine, theirs, strict=False):
            found += _differing(f"of the model {other['name']}", _without(own, "name"), _without(other, "name"))
        own, other = self.manifest["method"], settings["method"]
        if own["name"] != other["name"]:
            return [*found, f"the method is {other['name']}, and {own['name']} there"]
        found += _differing("", own["parameters"], other["parameters"])
        found += _differing("", _sampling(own["sampling"]), _sampling(other["sampling"]))
        rest = ("name", "parameters", "sampling")
        found += _differing("of the method", _without(own, *rest), _without(other, *rest))
        found += _differing("of the budget", self.manifest["budget"], settings["budget"])
        own, other = (
            {name: one.get(name) for name in ("now", "system", "thinking")} for one in (self.manifest, settings)
        )
        return found + _differing("", own, other)

    def calibrate(self, result: Result, read: Callable[[str], str | None], level: float = LEVEL) -> CalibratedAnswer:
        """Return what the run says about an answer with the same settings (`differences`).

        Parameters
        ----------
        read : callable
            The function that the method used to read its completions.
        level : float
            The minimum probability that each statement holds.

        Raises
        ------
        ParameterError
            If the run says nothing about the answer because the answer was produced differently: the method failed or
            gave no answer, a limit that the run does not have ended it, or its completions are read differently.
        """
        if result.why == "failed":
            raise ParameterError("the method failed")
        if result.answer.answer is None:
            raise ParameterError("the method gave no answer")
        if result.why == "spent" and not self.manifest["budget"]:
            raise ParameterError("the method was ended by a limit that the calibration run does not have")
        own = [leaf for leaf in leaves(result.trace["nodes"]) if not leaf.other_prompt]
        answers = [self._read(leaf, read) for leaf in own]
        chance = self._chance(result.answer.confidence, level)
        least = None if isinstance(self.shares, str) else least_share(self.shares, level)
        held, share, abstain, why = self._sets(result, own, answers, least)
        return CalibratedAnswer(
            self.label,
            self.sha256,
            right=sum(self.right),
            problems=len(self.right),
            level=level,
            chance=chance,
            answers=held,
            least=share,
            abstain=abstain,
            why=why,
        )

    def _read(self, leaf: Leaf, read: Callable[[str], str | None]) -> str | None:
        """Return the answer of a completion, which the task must read as the method did."""
        text = leaf.answer_part
        if text is None:
            return None
        with noting() as timeouts:
            answer, other = self.task.read(text), read(text)
        if timeouts:
            raise ParameterError("computer algebra timed out on a text")
        if answer != other:
            raise ParameterError(f"answers are read differently: {self.label} reads {answer!r:.60}, not {other!r:.60}")
        return answer

    def _chance(self, confidence: float | None, level: float) -> RightChance:
        right, problems, span = sum(self.right), len(self.right), None
        if self.confidences is not None and confidence is not None:
            pairs = zip(self.confidences, self.right, strict=True)
            stated = [(own, flag) for own, flag in pairs if own is not None]
            bins = bins_from_the_top([own for own, _ in stated], [flag for _, flag in stated])
            found = next((one for one in bins if one.low <= confidence), bins[-1])
            right, problems, span = round(found.right * found.texts), found.texts, (found.low, found.high)
        low, high = map(rounded, wilson(right, problems, level))
        return RightChance(right, problems, low, high, confidences=span)

    def _sets(
        self, result: Result, own: Sequence[Leaf], answers: Sequence[str | None], least: Number | None
    ) -> tuple[tuple[str, ...] | None, Fraction | None, bool | None, str]:
        """Return the answer set, the vote share needed to be in it, whether to abstain, and the reason."""
        if isinstance(self.shares, str):
            return None, None, None, f"no sets of answers: {self.shares}"
        if len(own) != self.samples or any(leaf.branch.rpartition("/")[0] != result.id for leaf in own):
            return None, None, None, f"no sets of answers: the method did not draw {self.samples} samples"
        if least is None:
            lacking = self.shares.count(Fraction(0))
            why = f"for {lacking:,} of {len(self.shares):,} problems no sample was right, so that no set will do"
            return None, None, True, why
        held = answer_set(answers, least)
        if held == (result.answer.answer,):
            return held, Fraction(least), False, ""
        why = "no answer has enough votes" if not held else f"{len(held)} answers have enough votes"
        return held, Fraction(least), True, why if len(held) != 1 else "another answer has enough votes"


def open_calibration(path: Path) -> CalibrationRun:
    """Read a result file as a calibration run.

    Raises
    ------
    FormatError
        If it is not a result file, or is damaged.
    ParameterError
        If it is missing or of an earlier version; if it has several tasks, too few problems, or answers that cannot be
        read the same way in new completions; or if this program has a different version of its method or grader.
    """
    run = read_result(path)
    try:
        if run.version < 3:
            raise ParameterError(
                f"it has version {run.version}, which lacks fields that a calibration needs: evaluate again"
            )
        if len(run.manifest["tasks"]) != 1:
            labels = ", ".join(about["label"] for about in run.manifest["tasks"])
            raise ParameterError(f"a calibration needs exactly one task, but it has {labels}")
        first = list(first_records(run.records).values())
        if len(first) < PROBLEMS:
            raise ParameterError(f"it has {len(first)} problems, but a calibration needs {PROBLEMS}")
        task = _task_of(run.manifest["tasks"][0])
        _check_method(run.manifest["method"])
    except IntactError as error:
        raise ParameterError(f"{path} cannot calibrate answers: {error}") from error
    shares = _shares(first)
    return CalibrationRun(
        sha256_of(path),
        run.manifest,
        task,
        tuple(bool(record.correct) for record in first),
        confidences=_confidences(first),
        shares=shares,
        samples=0 if isinstance(shares, str) else direct(first),
    )


def calibrated(
    runs: Sequence[CalibrationRun],
    settings: Mapping[str, Any],
    result: Result,
    read: Callable[[str], str | None],
    level: float = LEVEL,
) -> dict[str, Any]:
    """Return, as a JSON object, the statements of the run that matches an answer's settings, or why none does.

    Parameters
    ----------
    settings : mapping
        The settings of the answer, from `intact.evaluate.manifest.run_settings`.
    read : callable
        The function that read its completions.
    level : float
        The minimum probability that each statement holds.
    """
    reasons = []
    for run in runs:
        if differences := run.differences(settings):
            reasons.append(f"{run.label}: {'; '.join(differences)}")
            continue
        try:
            return run.calibrate(result, read, level).as_dict()
        except ParameterError as error:
            reasons.append(f"{run.label}: {error}")
    return {"because": f"no calibration run is of such answers: {'. '.join(reasons)}"}


def _confidences(first: Sequence[ItemRecord]) -> tuple[float | None, ...] | None:
    """Return the confidence of each answer, None for problems without an answer.

    Return None if any answer has no confidence in [0, 1].
    """
    found = tuple(None if record.answer is None else record.confidence for record in first)
    answered = [confidence for record, confidence in zip(first, found, strict=True) if record.answer is not None]
    bounded = [confidence for confidence in answered if confidence is not None and 0 <= confidence <= 1]
    return found if bounded and len(bounded) == len(answered) else None


def _task_of(about: Mapping[str, Any]) -> Task:
    """Return the task of a run, after checking that it reads answers in new completions as it did in the run."""
    if about.get("style") != "chat":
        raise ParameterError("its prompts are for base models, but questions are asked as conversations")
    chosen = choose(about["label"])
    if chosen.cut != "any" or type(chosen.task).read_for is not Task.read_for:
        raise ParameterError(f"reading the answers of {about['label']} needs more than their text")
    versions = versions_of_task(chosen.task).to_document()
    if versions != about.get("versions"):
        raise ParameterError(_outdated(f"{about['label']} was graded", about.get("versions"), versions))
    return chosen.task


def _check_method(about: Mapping[str, Any]) -> None:
    if about.get("source") is not None or about["name"] not in all_methods():
        raise ParameterError(f"its method {about['name']} is not part of this program")
    versions = versions_of_method(all_methods()[about["name"]], about["parameters"]).to_document()
    if versions != about.get("versions"):
        raise ParameterError(_outdated(f"{about['name']} ran", about.get("versions"), versions))


def _outdated(what: str, there: Any, here: Any) -> str:
    return f"{what} with the versions {_short(there)}, and this program has {_short(here)}: evaluate again"


def _shares(first: Sequence[ItemRecord]) -> tuple[Fraction, ...] | str:
    """Return the vote share of each problem's right answer, or the reason why there are none."""
    if not all(record.independent for record in first) or direct(first) < 2:
        return "the method does not draw several independent samples, their number settled beforehand"
    drawn = [own_samples(record) for record in first]
    try:
        return tuple(right_share([one.answer for one in own], [bool(one.correct) for one in own]) for own in drawn)
    except ParameterError as error:  # one answer was graded both right and wrong
        return str(error)


def _sampling(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return sampling parameters with their defaults filled in, as in a method's request."""
    found = SamplingParameters(**{**DEFAULTS, **given})
    return {name: getattr(found, name) for name in SamplingParameters.__dataclass_fields__ if name != "seed"}


def _without(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _differing(whose: str, own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Describe each member that differs: its value in the new answer's settings (`other`) and in the run (`own`)."""
    return [
        f"{' '.join(filter(None, (name, whose)))} is {_short(other.get(name))}, and {_short(own.get(name))} there"
        for name in dict.fromkeys((*own, *other))
        if own.get(name) != other.get(name)
    ]


def _short(value: Any) -> str:
    return value[:16] if isinstance(value, str) else json.dumps(value, default=str)[:200]
