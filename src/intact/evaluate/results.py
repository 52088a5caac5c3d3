"""Result files: a run's result in bytes that do not depend on threads, batching, order or machines.

The file is JSON lines: the manifest, a record for each item under each seed, in the order of the items, and the scores.
A second file contains the traces, one per line in the same order. Everything that may differ between runs (timings,
host, package versions) is in a third file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from intact._base.strict_json import is_double
from intact.reason.problem import CUT

if TYPE_CHECKING:
    from intact.receipts.document import AnyReceipt

FORMAT, VERSION = "intact evaluation", 3
READABLE = (1, 2, VERSION)
"""Versions that can be read. In version 1, a grader is recorded as a digest of source files; see also `SINCE_3`."""
SINCE_3 = (("independent", "turns"), ("cut", "other_prompt", "rewards", "verdicts", "steps"))
"""The fields of records and of samples that are missing in files of earlier versions."""


def was_cut(why: str, other_prompt: bool) -> bool:
    """Return true if a completion might have continued: it was truncated (`CUT`), or a search left it after a step.

    A step ends with a stop string of the method's own; in a reply to another prompt, such as one for a program, that
    string ends the reply.
    """
    return why in CUT or (why == "stop" and not other_prompt)


_NUMBER, _TEXT = (int, float), (str,)
_MAYBE, _VERDICT = (str, type(None)), (bool, type(None))
_SAMPLE = {"branch": _TEXT, "answer": _MAYBE, "correct": _VERDICT, "tokens": (int,), "logprob": _NUMBER, "why": _TEXT}
_RECORD = {
    "task": (int,), "seed": (int,), "id": _TEXT, "right": _TEXT, "answer": _MAYBE, "correct": _VERDICT,
    "chosen": (int, type(None)), "confidence": (*_NUMBER, type(None)), "why": _TEXT, "error": _TEXT, "samples": (list,),
}  # fmt: skip
_SAMPLE_3 = {"cut": (bool,), "other_prompt": (bool,), "rewards": (dict,), "verdicts": (list,), "steps": (list,)}
_RECORD_3 = {"independent": (bool,), "turns": (list,)}
_VERDICT_OF = {"by": _TEXT, "value": (*_NUMBER, type(None)), "tokens": (int,)}
_STEP = {"tokens": (int,), "answer": _MAYBE, "rewards": (dict,)}
_TURN = {"answer": _MAYBE, "correct": _VERDICT}


def typed(value: Any, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """Validate a mapping: its fields must have these types, and its measures, costs and rewards must be numbers.

    Raises
    ------
    TypeError, KeyError
        If it is invalid, or a number exceeds the range of a double.
    """
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {value!r:.80}")
    for name, kind in kinds.items():
        if type(value[name]) not in kind:
            raise TypeError(f"{name} is {value[name]!r:.80}")
        if type(value[name]) in _NUMBER and not is_double(value[name]):
            raise TypeError(f"{name} is beyond the range of a double")
    for name in ("measures", "cost", "rewards"):
        if not all(map(is_double, dict(value.get(name, {})).values())):
            raise TypeError(f"{name} must contain only numbers within the range of a double")
    return value


class SingleVerdict(NamedTuple):
    """One verdict on a completion, which may have several.

    Attributes
    ----------
    by : str
        The method or scorer that requested it.
    value : float or None
        From 0 (wrong) to 1 (right), or the scorer's value; None if it could not be read.
    tokens : int
        Number of tokens that it took.
    """

    by: str
    value: float | None
    tokens: int


class SampleStep(NamedTuple):
    """The state of a completion at the end of a step: a paragraph, or an extension if it was generated in several.

    Attributes
    ----------
    tokens : int
        Number of tokens from the root up to that point.
    answer : str or None
        The answer read from the text up to that point; no model was asked to answer there.
    rewards : mapping
        Its rewards at that point, by scorer; only extensions are scored.
    """

    tokens: int
    answer: str | None
    rewards: Mapping[str, float]


class AnswerTurn(NamedTuple):
    """An intermediate answer of a method, and the verdict on it (None: undecided)."""

    answer: str | None
    correct: bool | None


class ItemSample(NamedTuple):
    """A complete sample: a leaf of a method's tree.

    Attributes
    ----------
    branch : str
        Its branch in the tree.
    answer : str or None
        The answer, as read by the task.
    correct : bool or None
        The verdict; None if undecided (`intact.tasks.task.Task.grade`).
    tokens : int
        Number of tokens from the root.
    logprob : float
        Log-probability of these tokens, in nats.
    why : str
        The stop reason.
    measures : mapping
        The task's further metrics.
    cut : bool
        If true, the completion might have continued (`was_cut`).
    other_prompt : bool
        If true, the completion replies to a prompt other than the problem's own, such as a request for feedback.
    rewards : mapping of str to float
        The last reward from each scorer that scored the completion, chosen or not.
    verdicts : tuple of SingleVerdict
        Each single verdict on the completion, from a method that verifies or a scorer that asks a model.
    steps : tuple of SampleStep
        The ends of its steps, if it has more than one; the last is the whole text. Endpoints do not report tokens, so
        only the ends of extensions are known for their completions.
    """

    branch: str
    answer: str | None
    correct: bool | None
    tokens: int
    logprob: float
    why: str
    measures: Mapping[str, float] = {}
    cut: bool = False
    other_prompt: bool = False
    rewards: Mapping[str, float] = {}
    verdicts: tuple[SingleVerdict, ...] = ()
    steps: tuple[SampleStep, ...] = ()

    def as_dict(self, version: int = VERSION) -> dict[str, Any]:
        """Return the sample as a JSON object, in the given version of the format."""
        value = self._asdict()
        if version < 3:
            return {name: one for name, one in value.items() if name not in SINCE_3[1]}
        lists = {"verdicts": [one._asdict() for one in self.verdicts], "steps": [one._asdict() for one in self.steps]}
        return value | lists

    @classmethod
    def of(cls, value: Mapping[str, Any], version: int = VERSION) -> ItemSample:
        """Build a sample from the result of `as_dict`; raise as `ItemRecord.of` does."""
        if version < 3:
            return cls(**typed(value, _SAMPLE))
        found = cls(**typed(value, _SAMPLE | _SAMPLE_3))
        if found.cut != was_cut(found.why, found.other_prompt):
            raise TypeError(f"cut is {found.cut}, but the text ended with {found.why!r}")
        verdicts = tuple(SingleVerdict(**typed(one, _VERDICT_OF)) for one in value["verdicts"])
        return found._replace(verdicts=verdicts, steps=tuple(SampleStep(**typed(one, _STEP)) for one in value["steps"]))


class ItemRecord(NamedTuple):
    """The result of an item under a seed.

    Attributes
    ----------
    task, seed
        The index of its task in the manifest, and the seed itself.
    right, answer : str
        The reference answer from the data, and the method's answer.
    correct : bool or None
        If true, the method's answer is right; None if undecided.
    chosen : int or None
        The index of the sample that gave the answer.
    confidence : float or None
        The method's own estimate.
    measures : mapping
        The task's further metrics for the chosen sample.
    cost : mapping
        Tokens, prefill, operations, ..., without seconds.
    independent : bool or None
        If true, the samples that answer the problem's own prompt are independent draws whose number was fixed in
        advance (`intact.reason.registry.Method`); None if unknown, as in files of earlier versions.
    turns : tuple of tuple of AnswerTurn
        For methods that revise: the answers of each draft, turn by turn, including the last one.
    cluster : str
        The name of a group of related items (`Item.cluster`); if empty, it is omitted from files.
    """

    task: int
    seed: int
    id: str
    right: str
    answer: str | None
    correct: bool | None
    chosen: int | None
    confidence: float | None
    why: str
    error: str
    measures: Mapping[str, float]
    cost: Mapping[str, int]
    samples: tuple[ItemSample, ...]
    independent: bool | None = None
    turns: tuple[tuple[AnswerTurn, ...], ...] = ()
    cluster: str = ""

    @property
    def undecided(self) -> bool:
        """If true, the verdict on the answer, or on one of the samples or turns, is undecided."""
        verdicts = [turn.correct for draft in self.turns for turn in draft]
        return None in (self.correct, *(sample.correct for sample in self.samples), *verdicts)

    def as_dict(self, version: int = VERSION) -> dict[str, Any]:
        """Return the record as a JSON object, in the given version of the format."""
        value = self._asdict() | {"samples": [sample.as_dict(version) for sample in self.samples]}
        if not self.cluster:
            del value["cluster"]
        if version < 3:
            return {name: one for name, one in value.items() if name not in SINCE_3[0]}
        turns = [[turn._asdict() for turn in draft] for draft in self.turns]
        return value | {"independent": bool(self.independent), "turns": turns}

    @classmethod
    def of(cls, value: Mapping[str, Any], version: int = VERSION) -> ItemRecord:
        """Build a record from the result of `as_dict` in the given version of the format.

        Raises
        ------
        TypeError, KeyError
            If a field is missing or has the wrong type.
        """
        samples = tuple(ItemSample.of(sample, version) for sample in value["samples"])
        kinds = _RECORD | (_RECORD_3 if version >= 3 else {}) | ({"cluster": _TEXT} if "cluster" in value else {})
        found = cls(**{**typed(value, kinds), "samples": samples})
        turns = tuple(tuple(AnswerTurn(**typed(turn, _TURN)) for turn in draft) for draft in found.turns)
        found = found._replace(turns=turns)
        if found.chosen is not None and not 0 <= found.chosen < len(samples):
            raise TypeError(f"sample {found.chosen} was chosen, but there are {len(samples)} samples")
        return found


class TaskScore(NamedTuple):
    """A metric of a task, with its 95% interval and the name of the interval."""

    task: int
    metric: str
    value: float
    low: float | None
    high: float | None
    problems: int
    interval: str


@dataclass(frozen=True)
class EvaluationRun:
    """The result of a run.

    Attributes
    ----------
    manifest : mapping
        Digests of the model and the tasks, version of the arithmetic, method, parameters, seeds.
    traces : tuple of str
        The trace of each record as a line of JSON; empty if unknown.
    receipts : tuple of AnyReceipt, str or None
        Each record's receipt, or the reason why it has none, if receipts were requested. They are not part of the
        result file.
    version : int
        The format version of the file that it was read from.
    """

    manifest: Mapping[str, Any]
    records: tuple[ItemRecord, ...]
    scores: tuple[TaskScore, ...]
    traces: tuple[str, ...] = ()
    receipts: tuple[AnyReceipt | str | None, ...] = ()
    version: int = VERSION

    def __repr__(self) -> str:
        scores = ", ".join(f"{score.metric} {score.value:.4g}" for score in self.scores[:4])
        return f"EvaluationRun({len(self.records)} records, {scores})"

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields of records and samples that a file of this version lacks; reports that need them reject it."""
        return () if self.version >= 3 else (*SINCE_3[0], *(f"samples.{name}" for name in SINCE_3[1]))

    @property
    def undecided(self) -> list[ItemRecord]:
        """The records with an undecided verdict."""
        return [record for record in self.records if record.undecided]

    def data(self) -> bytes:
        """Return the bytes of the result file."""
        last = {
            "scores": [score._asdict() for score in self.scores],
            "traces": hashlib.sha256(self.trees()).hexdigest(),
        }
        values = [{"format": FORMAT, "version": self.version} | dict(self.manifest)]
        values += [record.as_dict(self.version) for record in self.records]
        return _bytes(line(value) for value in [*values, last])

    def trees(self) -> bytes:
        """Return the bytes of the trace file."""
        return _bytes(self.traces)


def line(value: Any) -> str:
    """Format a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _bytes(lines: Iterable[str]) -> bytes:
    # models can generate half of a surrogate pair, which is written as its escape
    return "".join(f"{text}\n" for text in lines).encode("utf-8", "backslashreplace")
