"""Result files: a run's result in bytes that do not depend on threads, batch, order or machines.

A file of JSON lines: the manifest, a record for each item under each seed in the order of the items, the scores. The
trees of texts are in a second file, one per line in the same order; whatever may differ from run to run (times, host,
versions of packages) is in a third.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from intact.receipts.document import AnyReceipt

FORMAT, VERSION = "intact evaluation", 2
READABLE = (1, VERSION)
"""Versions that can be read: in files of version 1 a grader is a digest of source files."""


_NUMBER, _TEXT = (int, float), (str,)
_MAYBE, _VERDICT = (str, type(None)), (bool, type(None))
_SAMPLE = {"branch": _TEXT, "answer": _MAYBE, "correct": _VERDICT, "tokens": (int,), "logprob": _NUMBER, "why": _TEXT}
_RECORD = {
    "task": (int,), "seed": (int,), "id": _TEXT, "right": _TEXT, "answer": _MAYBE, "correct": _VERDICT,
    "chosen": (int, type(None)), "confidence": (*_NUMBER, type(None)), "why": _TEXT, "error": _TEXT, "samples": (list,),
}  # fmt: skip


def typed(value: Any, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """Validate a mapping: its fields have these types, and its measures and costs are numbers.

    Raises
    ------
    TypeError, KeyError
        If it does not.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.80} should be an object")
    for name, kind in kinds.items():
        if type(value[name]) not in kind:
            raise TypeError(f"{name} is {value[name]!r:.80}")
    for name in ("measures", "cost"):
        if any(type(figure) not in _NUMBER for figure in dict(value.get(name, {})).values()):
            raise TypeError(f"{name} must hold numbers only")
    return value


class ItemSample(NamedTuple):
    """A complete text: a leaf of a method's tree.

    Attributes
    ----------
    branch : str
        Its branch in the tree of texts.
    answer : str or None
        As read by the task.
    correct : bool or None
        None if undecided (`intact.tasks.task.Task.grade`).
    tokens : int
        Number of tokens from the root on.
    logprob : float
        Log-probability of these tokens, in nats.
    why : str
        The stop reason.
    measures : mapping
        The task's further measures.
    """

    branch: str
    answer: str | None
    correct: bool | None
    tokens: int
    logprob: float
    why: str
    measures: Mapping[str, float] = {}


class ItemRecord(NamedTuple):
    """The result of an item under a seed.

    Attributes
    ----------
    task, seed
        The place of its task in the manifest; the seed itself.
    right, answer : str
        The right answer of the data, and the method's.
    correct : bool or None
        If true, the method's answer is right; None if undecided.
    chosen : int or None
        The sample that the answer is taken from.
    confidence : float or None
        The method's own estimate.
    measures : mapping
        The task's further measures of the chosen sample.
    cost : mapping
        Tokens, prefill, operations, ..., without seconds.
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

    @property
    def undecided(self) -> bool:
        """If true, the verdict on the answer, or on one of the samples, is undecided."""
        return self.correct is None or any(sample.correct is None for sample in self.samples)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON has it."""
        return self._asdict() | {"samples": [sample._asdict() for sample in self.samples]}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> ItemRecord:
        """Build a record from the result of `as_dict`.

        Raises
        ------
        TypeError, KeyError
            If a field is missing or of another type.
        """
        samples = tuple(ItemSample(**typed(sample, _SAMPLE)) for sample in value["samples"])
        found = cls(**{**typed(value, _RECORD), "samples": samples})
        if found.chosen is not None and not 0 <= found.chosen < len(samples):
            raise TypeError(f"sample {found.chosen} was chosen, of {len(samples)}")
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
        The model by its digests, version of the arithmetic, tasks by their digests, method, parameters, seeds.
    traces : tuple of str
        The line of each record's tree of texts; empty if unknown.
    receipts : tuple of AnyReceipt, str or None
        Each record's receipt, or the reason it has none, if receipts were requested. No part of the result file.
    """

    manifest: Mapping[str, Any]
    records: tuple[ItemRecord, ...]
    scores: tuple[TaskScore, ...]
    traces: tuple[str, ...] = ()
    receipts: tuple[AnyReceipt | str | None, ...] = ()

    def __repr__(self) -> str:
        scores = ", ".join(f"{score.metric} {score.value:.4g}" for score in self.scores[:4])
        return f"EvaluationRun({len(self.records)} records, {scores})"

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
        values = [{"format": FORMAT, "version": VERSION} | dict(self.manifest)]
        values += [record.as_dict() for record in self.records]
        return _bytes(line(value) for value in [*values, last])

    def trees(self) -> bytes:
        """Return the bytes of the file of trees."""
        return _bytes(self.traces)


def line(value: Any) -> str:
    """Format a value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _bytes(lines: Iterable[str]) -> bytes:
    # half of a surrogate pair, which models can write, becomes its escape
    return "".join(f"{text}\n" for text in lines).encode("utf-8", "backslashreplace")
