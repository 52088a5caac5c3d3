"""`/v1/files`: what batches read and write, in a folder."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from intact.errors import ParameterError
from intact.serve.errors import ApiError
from intact.serve.settings import Settings

_PIECE = 1 << 20


class Files:
    """Files by identifier, each with a description beside it; a file is there once its description is.

    Parameters
    ----------
    folder : Path
        Made if need be, for its owner's eyes alone.
    line_bytes : int
        The longest line that is read: a request's body may be no longer where it comes alone.
    """

    def __init__(self, folder: Path, line_bytes: int = Settings.body_bytes) -> None:
        self._folder, self._line_bytes = folder, line_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ParameterError(f"{folder} cannot be the folder of files: {error}") from error

    def path(self, name: str) -> Path:
        """Where the content of a file lies."""
        return self._folder / name

    def add(self, client: str, filename: str, purpose: str, content: BinaryIO) -> dict[str, Any]:
        """Take a file in."""
        name = f"file-{uuid.uuid4().hex}"
        try:
            with self.path(name).open("xb") as file:
                while piece := content.read(_PIECE):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            return self.describe(client, name, filename, purpose)
        except OSError as error:
            self.path(name).unlink(missing_ok=True)
            raise ApiError(507, f"the file cannot be kept: {error.strerror}", "file", "storage_failed") from error

    def describe(self, client: str, name: str, filename: str, purpose: str) -> dict[str, Any]:
        """Make a file whose content is there known."""
        value = {
            "id": name,
            "object": "file",
            "bytes": self.path(name).stat().st_size,
            "created_at": int(time.time()),
            "filename": filename[:200],
            "purpose": purpose,
            "status": "processed",
        }
        save(self._described(name), value | {"client": client})
        return value

    def find(self, client: str, name: str, param: str = "file_id") -> dict[str, Any]:
        """A client's file; `param` is the field that names it.

        Raises
        ------
        ApiError
            404, if it has none of this name.
        """
        found = load(self._described(name)) if re.fullmatch(r"file-[0-9a-f]{32}", name) else None
        if found is None or found.pop("client") != client:
            raise ApiError(404, f"there is no file {name!r:.60}", param, "not_found")
        return found

    def all(self, client: str) -> list[dict[str, Any]]:
        """A client's files, the oldest first."""
        found = [value for path in self._folder.glob("file-*.json") if (value := load(path)) is not None]
        mine = [value for value in found if value.pop("client") == client]
        return sorted(mine, key=lambda value: (value["created_at"], value["id"]))

    def delete(self, client: str, name: str) -> None:
        """Forget a file."""
        self.find(client, name)
        self._described(name).unlink(missing_ok=True)
        self.path(name).unlink(missing_ok=True)

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file that are not empty.

        Raises
        ------
        ApiError
            404, if the file was deleted; 400, at a line that is too long.
        """
        try:
            file = self.path(name).open("rb")
        except FileNotFoundError as error:
            raise ApiError(404, f"{name} is no longer there", "input_file_id", "not_found") from error
        with file:
            while line := file.readline(self._line_bytes + 1):
                if len(line) > self._line_bytes:
                    message = f"{name} has a line of more than {self._line_bytes:,} bytes"
                    raise ApiError(400, message, "input_file_id")
                if line.strip():
                    yield line

    def _described(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def save(path: Path, value: Any) -> None:
    """Write a value as JSON, so that the file has either what was in it before, or all of this.

    Nobody else may write the same file meanwhile.
    """
    new = path.with_suffix(".new")
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def load(path: Path) -> dict[str, Any] | None:
    """Read what `save` wrote; None, if there is nothing, or nothing of ours."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
