"""Result files: what a run states, in bytes that do not depend on how it was run.

A file of JSON lines: the manifest, a record for each item under each seed in the order of the items, the scores. The
trees of texts lie beside it, one a line in the same order; what may differ from run to run (times, host, versions of
packages) in a third file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from intact.run_receipts.document import RunReceipt

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
    """A mapping whose fields are of these kinds, and whose mappings hold numbers.

    Raises
    ------
    TypeError, KeyError
        If it is none.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.80} should be an object")
    for name, kind in kinds.items():
        if type(value[name]) not in kind:
            raise TypeError(f"{name} is {value[name]!r:.80}")
    for name in ("measures", "cost"):
        if any(type(figure) not in _NUMBER for figure in dict(value.get(name, {})).values()):
            raise TypeError(f"{name} holds something else than numbers")
    return value


class ItemSample(NamedTuple):
    """A text that a method had written, and that nothing followed.

    Attributes
    ----------
    branch : str
        Its place in the tree of texts.
    answer : str or None
        As the task reads it.
    correct : bool or None
        None where that is undecided (`intact.tasks.task.Task.grade`).
    tokens : int
        From the root on.
    logprob : float
        Of these tokens, in nats.
    why : str
        Why writing ended.
    measures : mapping
        What the task measures besides.
    """

    branch: str
    answer: str | None
    correct: bool | None
    tokens: int
    logprob: float
    why: str
    measures: Mapping[str, float] = {}


class ItemRecord(NamedTuple):
    """An item under a seed.

    Attributes
    ----------
    task, seed
        The place of its task in the manifest; the seed itself.
    right, answer : str
        The right answer, as the data have it, and the method's.
    correct : bool or None
        Whether the method's is right; None where that is undecided.
    chosen : int or None
        Which sample the answer is taken from.
    confidence : float or None
        The method's own estimate.
    measures : mapping
        What the task measures besides, of the chosen sample.
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
        """Return whether the verdict on the answer, or on one of the samples, is undecided."""
        return self.correct is None or any(sample.correct is None for sample in self.samples)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return self._asdict() | {"samples": [sample._asdict() for sample in self.samples]}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> ItemRecord:
        """What `as_dict` gave.

        Raises
        ------
        TypeError, KeyError
            If it did not.
        """
        samples = tuple(ItemSample(**typed(sample, _SAMPLE)) for sample in value["samples"])
        found = cls(**{**typed(value, _RECORD), "samples": samples})
        if found.chosen is not None and not 0 <= found.chosen < len(samples):
            raise TypeError(f"sample {found.chosen} was chosen, of {len(samples)}")
        return found


class TaskScore(NamedTuple):
    """A figure of a task, with its 95% interval, and how that was found."""

    task: int
    metric: str
    value: float
    low: float | None
    high: float | None
    problems: int
    interval: str


@dataclass(frozen=True)
class EvaluationRun:
    """What a run states.

    Attributes
    ----------
    manifest : mapping
        The model by its digests, version of the arithmetic, tasks by their digests, method, parameters, seeds.
    traces : tuple of str
        The line of each record's tree of texts; empty, if they are not at hand.
    receipts : tuple of RunReceipt, str or None
        Each record's receipt, or why it has none, where receipts were asked for. No part of what the run states.
    """

    manifest: Mapping[str, Any]
    records: tuple[ItemRecord, ...]
    scores: tuple[TaskScore, ...]
    traces: tuple[str, ...] = ()
    receipts: tuple[RunReceipt | str | None, ...] = ()

    @property
    def undecided(self) -> list[ItemRecord]:
        """Return the records with a verdict that is undecided."""
        return [record for record in self.records if record.undecided]

    def data(self) -> bytes:
        """The result file."""
        last = {
            "scores": [score._asdict() for score in self.scores],
            "traces": hashlib.sha256(self.trees()).hexdigest(),
        }
        values = [{"format": FORMAT, "version": VERSION} | dict(self.manifest)]
        values += [record.as_dict() for record in self.records]
        return _bytes(line(value) for value in [*values, last])

    def trees(self) -> bytes:
        """The file of trees beside it."""
        return _bytes(self.traces)


def line(value: Any) -> str:
    """A value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _bytes(lines: Iterable[str]) -> bytes:
    # half of a surrogate pair, which models can write, becomes its escape
    return "".join(f"{text}\n" for text in lines).encode("utf-8", "backslashreplace")
