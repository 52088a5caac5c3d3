"""Whole files: read with errors that name the file, and written completely or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from intact._base.errors import FormatError, IntactError, ParameterError


def sha256_of(file: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_text(file: Path, error: type[IntactError] = FormatError) -> str:
    """Return the text of a UTF-8 file.

    Raises
    ------
    IntactError
        If the file cannot be read; the error has the given type.
    """
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as why:
        raise error(f"{file} cannot be read: {getattr(why, 'strerror', None) or why}") from why


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Return the non-blank lines of a text, with line numbers from 1.

    Only a line feed ends a line; `str.splitlines` also splits at other separators, which JSON may contain.
    """
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def expand_home(text: str) -> Path:
    """Return a path with a leading ``~`` or ``~USER`` replaced by the home folder.

    Raises
    ------
    ParameterError
        If there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ParameterError(f"{text}: cannot find the home folder of {text.partition('/')[0]!r:.80}") from error


@contextmanager
def named_errors(file: Path, *others: Path) -> Iterator[None]:
    """Add a file name to operating system errors that have none, or replace the name of a stand-in path.

    Errors from `write`, such as for a full disk, do not name a file.
    """
    try:
        yield
    except OSError as error:
        if error.strerror and (error.filename is None or error.filename in map(str, others)):
            error.filename = str(file)
        raise


def write_whole(file: Path, parts: str | bytes | Iterable[str | bytes]) -> None:
    """Write strings, in UTF-8, or bytes to a file: completely or, on failure, not at all.

    If writing fails or is interrupted, even by a power failure, the previous file is intact. The parts are written to a
    new file next to it, with an unpredictable name; `file` itself and, if it is a symbolic link, its target are never
    written to. The link is replaced.

    Raises
    ------
    OSError
        If the file cannot be written; the error's `filename` is `file`.
    """
    part = file.with_name(f"{file.name}.{secrets.token_hex(8)}.part")  # the last of two writers wins
    try:
        with named_errors(file, part):  # callers do not know the part file
            with part.open("xb") as stream:
                for text in [parts] if isinstance(parts, str | bytes) else parts:
                    stream.write(text.encode() if isinstance(text, str) else text)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(file)
    finally:
        part.unlink(missing_ok=True)
