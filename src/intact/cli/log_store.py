"""The conversation log: a JSON lines file per conversation in ``$XDG_STATE_HOME/intact/logs``, private to the user.

Each line is one answer with everything needed to repeat it: model digests, messages, resolved seed and sampling. Lines
are appended in one write each; damaged lines are skipped. The oldest conversations are removed when there are too many,
or when they take up too much space.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.files import expand_home, named_errors
from intact._base.suggest import unknown_name

OFF: Final = "INTACT_NO_LOG"
"""Environment variable that turns logging off, unless it is empty or 0."""
VERSION: Final = 1
MOST: Final = 1000
"""Maximum number of conversations kept."""
MOST_BYTES: Final = 256 << 20
"""Maximum total size of all conversations in bytes."""
LAST: Final = "last"
"""The name that selects the newest conversation."""
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_MEMBERS: Final = {
    "version": int,
    "time": str,
    "command": str,
    "model": dict,
    "messages": list,
    "now": str,
    "sampling": dict,
    "n": int,
    "answers": list,
}


def state_folder() -> Path:
    """Return the folder for the state of commands: ``$XDG_STATE_HOME/intact``, by default ``~/.local/state/intact``."""
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else expand_home("~/.local/state")) / "intact"


def is_off() -> bool:
    """Return true if the environment turns logging off."""
    return os.environ.get(OFF, "") not in ("", "0")


def append_private(file: Path, text: str) -> None:
    """Append a line in one write to a file that only its user may read; an unfinished last line is ended first.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(file, flags, 0o600)
    with named_errors(file), os.fdopen(descriptor, "r+b", buffering=0) as stream:
        if torn := stream.seek(0, os.SEEK_END) > 0:
            stream.seek(-1, os.SEEK_END)
            torn = stream.read(1) != b"\n"
        stream.write(b"\n" * torn + text.encode("utf-8", "surrogatepass") + b"\n")


@dataclass(frozen=True)
class LoggedConversation:
    """The answers of a conversation, in order.

    Attributes
    ----------
    entries : tuple of dict
        One entry per line of the file.
    damaged : int
        Number of unreadable lines.
    """

    id: str
    entries: tuple[dict[str, Any], ...]
    damaged: int

    def to_document(self) -> dict[str, Any]:
        """Return the conversation as a JSON value."""
        return {"id": self.id, "damaged": self.damaged, "entries": list(self.entries)}


class LogStore:
    """Store of this user's conversations.

    Parameters
    ----------
    folder : Path, optional
        Folder of the conversations; by default in the state folder.
    most, most_bytes : int
        Maximum number of conversations, and their maximum total size.
    """

    def __init__(self, folder: Path | None = None, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder or state_folder() / "logs"
        self._most, self._most_bytes = most, most_bytes

    def begin(self) -> str:
        """Return the name of a new conversation, and remove the oldest ones if there are too many."""
        self._prune()
        now = datetime.now(UTC)
        return f"{now:%Y%m%d-%H%M%S}-{now.microsecond * 65536 // 10**6:04x}"  # in order of time within a second too

    def add(self, name: str, entry: dict[str, Any]) -> None:
        """Append an answer to a conversation.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        append_private(self._file(name), json.dumps({"version": VERSION, **entry}, ensure_ascii=False))

    def names(self) -> list[str]:
        """Return the names of all conversations, newest first."""
        with suppress(FileNotFoundError, NotADirectoryError):
            files = [path.name.removesuffix(".jsonl") for path in self.folder.iterdir() if path.suffix == ".jsonl"]
            return sorted(filter(_ID.fullmatch, files), reverse=True)
        return []

    def find(self, text: str) -> str:
        """Return the conversation that a string identifies: ``last``, or the beginning or end of exactly one name.

        Raises
        ------
        ParameterError
            If no conversation or more than one matches.
        """
        names = self.names()
        if not names:
            raise ParameterError(f"no conversation is logged in {self.folder}")
        if text == LAST:
            return names[0]
        found = [name for name in names if name.startswith(text) or name.endswith(text)] if text else []
        if text in found or len(found) == 1:
            return text if text in found else found[0]
        if found:
            raise ParameterError(f"{text!r:.60} is ambiguous: it could be {', '.join(found[:5])}")
        problem = f"no conversation named {text!r:.60}"
        raise ParameterError(unknown_name(problem, text, names[:5], "intact logs lists them; the last are"))

    def read(self, name: str) -> LoggedConversation:
        """Return a conversation by its full name.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        entries, damaged = [], 0
        for line in self._lines(name):
            entry = _read_entry(line)
            if entry is None:
                damaged += 1
            else:
                entries.append(entry)
        return LoggedConversation(name, tuple(entries), damaged)

    def remove(self, name: str) -> None:
        """Remove a conversation; do nothing if it is already gone."""
        self._file(name).unlink(missing_ok=True)

    def _lines(self, name: str) -> Iterator[bytes]:
        with self._file(name).open("rb") as file:
            yield from filter(bytes.strip, file)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def _prune(self) -> None:
        """Make room for one more conversation."""
        kept = taken = 0
        for name in self.names():
            with suppress(OSError):
                taken += self._file(name).stat().st_size
                kept += 1
                if kept >= self._most or taken > self._most_bytes:
                    self.remove(name)


def _read_entry(line: bytes) -> dict[str, Any] | None:
    """Return an entry; None if the line is damaged or from a later version."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not _has(entry, _MEMBERS) or not isinstance(entry.get("prompt", ""), str):
        return None
    parts = [(entry["model"], {"name": str, "profile": str, "digests": dict})]
    parts += [(turn, {"role": str, "content": str}) for turn in entry["messages"]]
    parts += [(answer, {"text": str, "finish": str, "tokens": list}) for answer in entry["answers"]]
    return entry if entry["version"] == VERSION and all(_has(part, members) for part, members in parts) else None


def _has(value: Any, members: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in members.items())
