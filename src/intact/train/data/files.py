"""Rows of JSONL and Parquet files, with limits that are checked before the rows are used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from intact._base.errors import FormatError
from intact._base.files import sha256_of
from intact._base.packages import check_installed
from intact._base.strict_json import parse

MOST_BYTES: Final = 1 << 30
"""Maximum size of a file, and of its decoded rows."""
MOST_ROWS: Final = 1 << 20
MOST_ROW_BYTES: Final = 4 << 20
"""Maximum size of a row."""
MOST_DEPTH: Final = 32
"""Maximum nesting depth of a row."""
SUFFIXES: Final = (".jsonl", ".parquet")
_BATCH: Final = 64
"""Rows of a Parquet file that are decoded together."""


class RawRow(NamedTuple):
    """A row as read: its place for error messages, and its members."""

    where: str
    value: dict[str, Any]


class RawFile(NamedTuple):
    """A data file: its name without folders, SHA-256 (hexadecimal), and rows."""

    name: str
    sha256: str
    rows: list[RawRow]


def read_file(path: Path) -> RawFile:
    """Read all rows of a ``.jsonl`` or ``.parquet`` file.

    Raises
    ------
    FormatError
        If the file is missing, damaged or too large; the message names the line or row.
    NotInstalledError
        If a Parquet file needs pyarrow, which is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise FormatError(f"{path}: expected a file whose name ends in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise FormatError(f"{path} has {size:,} bytes; expected at most {MOST_BYTES:,}")
    rows: list[RawRow] = []
    for row in _jsonl_rows(path) if path.suffix == ".jsonl" else _parquet_rows(path):
        rows.append(row)
        if len(rows) > MOST_ROWS:
            raise FormatError(f"{path} has more than {MOST_ROWS:,} rows; split it into several files")
    if not rows:
        raise FormatError(f"{path} has no rows")
    return RawFile(path.name, sha256_of(path), rows)


def _jsonl_rows(path: Path) -> Iterator[RawRow]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_ROW_BYTES + 1):
            number += 1
            where = f"{path.name}, line {number}"
            if len(line) > MOST_ROW_BYTES:
                raise FormatError(f"{where} has more than {MOST_ROW_BYTES:,} bytes")
            if line.strip():
                yield _row(where, parse(line, where, error=FormatError, depth=MOST_DEPTH))


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    check_installed("a Parquet file", "pyarrow")
    import pyarrow
    from pyarrow import parquet

    number = total = 0
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            if file.metadata.num_rows > MOST_ROWS:
                raise FormatError(f"{path} has {file.metadata.num_rows:,} rows; expected at most {MOST_ROWS:,}")
            for batch in file.iter_batches(_BATCH):
                total += batch.nbytes
                if batch.nbytes > _BATCH * MOST_ROW_BYTES or total > MOST_BYTES:
                    raise FormatError(
                        f"{path} decodes to more than {MOST_BYTES:,} bytes, or has rows that are too long"
                    )
                for value in batch.to_pylist():
                    number += 1
                    where = f"{path.name}, row {number}"
                    yield _row(where, _without_nulls(value, where))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not a readable Parquet file: {error!s:.200}") from error


def _without_nulls(value: Any, where: str, depth: int = 0) -> Any:
    """Return a value without the members that are null: Parquet stores a null for each missing member of a struct."""
    if depth > MOST_DEPTH:
        raise FormatError(f"{where} is nested too deeply")
    if isinstance(value, dict):
        return {key: _without_nulls(item, where, depth + 1) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item, where, depth + 1) for item in value]
    if isinstance(value, str | int | float):
        return value
    raise FormatError(f"{where} holds a {type(value).__name__}; expected text, numbers, lists and structs")


def _row(where: str, value: Any) -> RawRow:
    if not isinstance(value, dict):
        raise FormatError(f"{where} is {value!r:.40}; expected an object with members such as messages or text")
    return RawRow(where, value)
