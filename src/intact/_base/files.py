"""Files as a whole: read with an error that names them, written wholly or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from intact._base.errors import FormatError, IntactError, ParameterError


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_text(file: Path, error: type[IntactError] = FormatError) -> str:
    """Return the text of a file in UTF-8.

    Raises
    ------
    IntactError
        Of the given type, if it cannot be read.
    """
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as why:
        raise error(f"{file} cannot be read: {getattr(why, 'strerror', None) or why}") from why


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Return the lines of a text that hold something, with their numbers from 1.

    A line feed alone ends one, where `str.splitlines` takes other separators too, which texts in JSON may hold.
    """
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def expand_home(text: str) -> Path:
    """Return a path; ``~`` or ``~USER`` at its beginning stands for a home folder.

    Raises
    ------
    ParameterError
        If nobody has that name.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ParameterError(f"{text}: no home folder is known for {text.partition('/')[0]!r:.80}") from error


@contextmanager
def named_errors(file: Path, *others: Path) -> Iterator[None]:
    """Name a file in errors of the system that name none, or another path that stands for it.

    Errors of `write`, such as that of a full disk, name no file of their own.
    """
    try:
        yield
    except OSError as error:
        if error.strerror and (error.filename is None or error.filename in map(str, others)):
            error.filename = str(file)
        raise


def write_whole(file: Path, parts: str | bytes | Iterable[str | bytes]) -> None:
    """Write a file of texts, in UTF-8, or bytes: all of it or, where that fails, nothing.

    If writing fails or is cut short, be it by the power, what was there before is still there. The parts go to a new
    file beside it, with a name that nobody can foresee; so neither that file nor, if `file` is a symbolic link, what it
    points to is ever written to. The link itself is replaced.

    Raises
    ------
    OSError
        If it cannot be written; its `filename` is `file`.
    """
    part = file.with_name(f"{file.name}.{secrets.token_hex(8)}.part")  # of two who write at once the last one's stays
    try:
        with named_errors(file, part):  # nobody knows of the part
            with part.open("xb") as stream:
                for text in [parts] if isinstance(parts, str | bytes) else parts:
                    stream.write(text.encode() if isinstance(text, str) else text)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(file)
    finally:
        part.unlink(missing_ok=True)
