"""Result files: what a run states, in bytes that do not depend on how it was run.

A file of JSON lines: the manifest, a record for each item under each seed in the order of the items, the scores. The
trees of texts lie beside it, one a line in the same order; what may differ from run to run (times, host, versions of
packages) in a third file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from intact.errors import FormatError, ParameterError

FORMAT, VERSION = "intact evaluation", 1


class Sample(NamedTuple):
    """A text that a method had written, and that nothing followed.

    Attributes
    ----------
    branch : str
        Its place in the tree of texts.
    answer : str or None
        As the task reads it.
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
    correct: bool
    tokens: int
    logprob: float
    why: str
    measures: Mapping[str, float] = {}


class Record(NamedTuple):
    """An item under a seed.

    Attributes
    ----------
    task, seed
        The place of its task in the manifest; the seed itself.
    right, answer : str
        The right answer, as the data have it, and the method's.
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
    correct: bool
    chosen: int | None
    confidence: float | None
    why: str
    error: str
    measures: Mapping[str, float]
    cost: Mapping[str, int]
    samples: tuple[Sample, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return self._asdict() | {"samples": [sample._asdict() for sample in self.samples]}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Record:
        """What `as_dict` gave.

        Raises
        ------
        TypeError, KeyError
            If it did not.
        """
        return cls(**{**value, "samples": tuple(Sample(**sample) for sample in value["samples"])})


class Score(NamedTuple):
    """A figure of a task, with its 95% interval, and how that was found."""

    task: int
    metric: str
    value: float
    low: float | None
    high: float | None
    problems: int
    interval: str


@dataclass(frozen=True)
class Run:
    """What a run states.

    Attributes
    ----------
    manifest : mapping
        The model by its digests, version of the arithmetic, tasks by their digests, method, parameters, seeds.
    traces : tuple of str
        The line of each record's tree of texts; empty, if they are not at hand.
    """

    manifest: Mapping[str, Any]
    records: tuple[Record, ...]
    scores: tuple[Score, ...]
    traces: tuple[str, ...] = ()

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


def traces_of(path: Path) -> Path:
    """Where the trees of a result file lie."""
    return path.with_suffix(".traces.jsonl")


def host_of(path: Path) -> Path:
    """Where a result file's times and versions lie."""
    return path.with_suffix(".host.json")


def write(run: Run, path: Path, host: Mapping[str, Any]) -> None:
    """Write a run's three files, the result last: where it is, the others are, and each is whole.

    Raises
    ------
    ParameterError
        If there is another file, or the result of another run.
    """
    check_place(path, run.manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(traces_of(path), run.trees())
    _replace(host_of(path), (json.dumps(host, indent=1) + "\n").encode())
    _replace(path, run.data())


def check_place(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse to write over something else.

    Raises
    ------
    ParameterError
        If there is a file that is not the result of the same run.
    """
    if path.suffix != ".jsonl":
        raise ParameterError(f"a result file ends in .jsonl, got {path}")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as stream:
            first = stream.readline()
        if first != line({"format": FORMAT, "version": VERSION} | dict(manifest)) + "\n":
            raise ParameterError(f"{path} is there already and states something else: name another file with --out")


def _replace(path: Path, data: bytes) -> None:
    """Write a file, all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: Path) -> Run:
    """Read a result file, with its trees where they are.

    Raises
    ------
    ParameterError
        If there is none.
    FormatError
        If it is none, of another version, cut off, or damaged; or the trees are those of another run.
    """
    if not path.is_file():
        raise ParameterError(f"{path}: there is no such file")
    values = _lines(path)
    first = values[0] if values else None
    if not isinstance(first, dict) or first.get("format") != FORMAT:
        raise FormatError(f"{path} is no result file; expected what `intact eval` wrote")
    if first.get("version") != VERSION:
        raise FormatError(f"{path} is of version {first.get('version')!r}; this program reads {VERSION}")
    if len(values) < 2 or not isinstance(values[-1], dict) or "scores" not in values[-1]:
        raise FormatError(f"{path} is cut off: its last line holds no scores")
    manifest = {name: value for name, value in first.items() if name not in ("format", "version")}
    try:
        records = tuple(Record.of(value) for value in values[1:-1])
        scores = tuple(Score(**score) for score in values[-1]["scores"])
        digest = values[-1]["traces"]
    except (TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"{path} is damaged: {error!r:.200}") from error
    if len(records) != manifest.get("records"):
        raise FormatError(f"{path} should have {manifest.get('records')} records, but has {len(records)}")
    return Run(manifest, records, scores, _traces(traces_of(path), digest))


def _traces(path: Path, digest: str) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise FormatError(f"{path} is not what its result file was written with; remove it to do without trees")
    return tuple(data.decode("utf-8").split("\n")[:-1])


def _lines(path: Path) -> Sequence[Any]:
    try:
        return [json.loads(text) for text in path.read_text("utf-8").split("\n") if text]
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
