"""Results of a run as JSON lines on disk, so that a later session can resume."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from intact._base import strict_json
from intact._base.errors import JournalError
from intact._base.files import numbered_lines, read_text
from intact.measure.meter.answers import AnswerComparison
from intact.measure.meter.spending import Spending

FORMAT = "intact-meter"
VERSION = 1
MOST_BYTES = 1 << 28


class MeterTrial(NamedTuple):
    """One comparison.

    Attributes
    ----------
    step, condition, setting
        Key of the step (`plan.Step.key`), name of its condition, and its setting.
    others
        Number of concurrent other requests, or None.
    prompt
        The prompt, up to 80 characters.
    comparison
        The comparison with the reference.
    """

    step: str
    condition: str
    setting: str
    others: int | None
    prompt: str
    comparison: AnswerComparison


class MeterJournal:
    """A file of trials; without a path, they are kept in memory only.

    Parameters
    ----------
    path : Path, optional
    about : mapping
        Settings that must be the same in all sessions, such as address and model.

    Raises
    ------
    JournalError
        If the file is damaged, or belongs to a run with different settings.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self._path, self.trials = path, list[MeterTrial]()
        self.done: dict[str, str] = {}
        """Keys of measured steps, with the reason for those that could not be measured."""
        self.sessions = 1
        self.spent = {"requests": 0, "tokens": 0, "seconds": 0.0, "cost": 0.0}
        """Requests, tokens, seconds and cost of earlier sessions."""
        if path is None:
            return
        if path.exists():
            self._read(path, about)
            self.sessions += 1
        else:
            self._write({"format": FORMAT, "version": VERSION, "about": about})

    def used(self, spending: Spending) -> dict[str, float]:
        """Return the usage of all sessions, including the current one."""
        now = {name: getattr(spending, name) for name in self.spent}
        return {name: self.spent[name] + value for name, value in now.items()}

    def add(self, key: str, trials: Sequence[MeterTrial], spending: Spending, failure: str = "") -> None:
        """Store a step's trials or the reason why it failed, and this session's usage so far."""
        self.trials += trials
        self.done[key] = failure
        spent = {name: getattr(spending, name) for name in self.spent}
        rows = [trial._replace(comparison=trial.comparison._asdict())._asdict() for trial in trials]  # type: ignore[arg-type]
        self._write({"step": key, "session": self.sessions, "failure": failure, "spent": spent, "trials": rows})

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
                stream.flush()
                os.fsync(stream.fileno())

    def _read(self, path: Path, about: Mapping[str, Any]) -> None:
        if path.stat().st_size > MOST_BYTES:
            raise JournalError(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
        text = read_text(path, JournalError)
        if not text:
            self._write({"format": FORMAT, "version": VERSION, "about": about})
            return
        whole = text[: text.rfind("\n") + 1]  # a session that was killed may leave half a line
        lines = numbered_lines(whole)
        if not lines:
            raise JournalError(f"{path} is no journal of intact meter")
        records = [strict_json.parse(line, f"{path}, line {number}", error=JournalError) for number, line in lines]
        try:
            head = records[0]
            if not isinstance(head, dict) or (head.get("format"), head.get("version")) != (FORMAT, VERSION):
                raise JournalError(f"{path} is no journal of intact meter in version {VERSION}")
            if head["about"] != about:
                raise JournalError(f"{path} measured {head['about']}, not {dict(about)}: give another --journal")
            sessions: dict[int, dict[str, Any]] = {}
            for record in records[1:]:
                rows = [dict(row) for row in record["trials"]]
                self.trials += [
                    MeterTrial(**row | {"comparison": AnswerComparison.of_dict(row["comparison"])}) for row in rows
                ]
                self.done[record["step"]] = record["failure"]
                sessions[record["session"]] = record["spent"]
        except (LookupError, TypeError, AttributeError) as error:
            raise JournalError(f"{path} is damaged: {error!r:.100}") from None
        if whole != text:
            with path.open("r+b") as stream:
                stream.truncate(len(whole.encode()))
        self.sessions = max(sessions, default=0)
        for used in sessions.values():
            self.spent = {name: value + used.get(name, 0) for name, value in self.spent.items()}
