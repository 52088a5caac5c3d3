"""Local facts of a run, so that `intact train resume` needs no options: the place of its model, and held-out rows.

Neither is part of the receipt, which states digests only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from intact._base.errors import FormatError
from intact._base.files import write_whole
from intact.checkpoints.formats.safetensors import read_json
from intact.train.examples import Row
from intact.train.run_folder import read_rows, rows_text

SESSION: Final = "session.json"
HELD: Final = "held.jsonl"
FORMAT: Final = "intact-train-session"
VERSION: Final = 1


@dataclass(frozen=True)
class Session:
    """The local facts of a run.

    Attributes
    ----------
    model, teacher : str or None
        Names or absolute paths.
    task : str
    """

    model: str
    task: str
    teacher: str | None = None


def save_session(out: Path, session: Session, held: Sequence[Row]) -> None:
    """Write a session and held-out rows into the folder of a run."""
    if held:
        write_whole(out / HELD, rows_text(held))
    document = {"format": FORMAT, "version": VERSION, **asdict(session)}
    write_whole(out / SESSION, json.dumps(document, indent=1) + "\n")


def load_session(out: Path) -> Session | None:
    """Read the session of a run; None if there is none.

    Raises
    ------
    FormatError
        If the file is malformed.
    """
    path = out / SESSION
    if not path.exists():
        return None
    found: dict[str, Any] = read_json(path, "the session of a training run")
    model, task, teacher = found.get("model"), found.get("task"), found.get("teacher")
    if (found.get("format"), found.get("version")) != (FORMAT, VERSION):
        raise FormatError(f"{path}: expected the format {FORMAT}, version {VERSION}")
    if not isinstance(model, str) or not isinstance(task, str) or not isinstance(teacher, str | None):
        raise FormatError(f"{path}: model and task must be text, and teacher text or null")
    return Session(model, task, teacher)


def load_held(out: Path) -> list[Row]:
    """Read the held-out rows of a run; empty if there are none.

    Raises
    ------
    FormatError
        If the file is malformed.
    """
    path = out / HELD
    return read_rows(path) if path.exists() else []
