"""Find and read problem files."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from intact._base import strict_json
from intact._base.errors import FormatError, ParameterError
from intact._base.files import expand_home, numbered_lines
from intact._base.packages import check_installed, missing
from intact.checkpoints.catalogue.place import cache

Row = Mapping[str, Any]
SAMPLES: Final = Path(__file__).with_name("samples")
"""The folder of samples, with the same layout as the data folder."""
SAMPLE_SIZE: Final = 100
"""Number of problems in each sample: the first ones of the full file (scripts/sample_tasks.py)."""
KINDS: Final[Mapping[str, str]] = {
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json": "a JSON list",
    ".csv": "CSV with a header",
    ".tsv": "CSV with tabs and a header",
    ".parquet": "Parquet",
}
"""Formats of problem files, by file name extension."""
_DELIMITERS: Final = {".csv": ",", ".tsv": "\t"}
observers: list[Callable[[Path], None]] = []
"""Callbacks that receive the path of every problem file that is read."""


def data_folder() -> Path:
    """Return the folder of problem files: ``$INTACT_DATA``, by default ``../shared/data``.

    Raise as `expand_home` does.
    """
    return expand_home(os.environ.get("INTACT_DATA") or "../shared/data")


def fetched_folder() -> Path:
    """Return the folder of full sets fetched by name: ``$INTACT_HOME/data``."""
    return cache() / "data"


def find_file(name: str, folder: Path | None = None) -> Path | None:
    """Return the path of a problem file, plain or with an additional ``.gz``; None if it is missing.

    Parameters
    ----------
    folder
        The folder to search; by default `data_folder`, then `fetched_folder`.
    """
    for place in (data_folder(), fetched_folder()) if folder is None else (folder,):
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def name_of(path: Path) -> str:
    """Return the display name of a problem file: its path relative to the data folder it belongs to."""
    for folder in (data_folder(), fetched_folder(), SAMPLES.parent):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file in the format given by its extension (`KINDS`); ``.gz`` files are decompressed.

    Raises
    ------
    ParameterError
        If the file is missing, or has a different extension.
    FormatError
        If it is damaged; the message names the line.
    NotInstalledError
        If it is a Parquet file and pyarrow, which `datasets` installs, is missing.
    """
    kind = _kind(path)
    if kind not in KINDS:
        listed = ", ".join(f"{ending} ({what})" for ending, what in KINDS.items())
        raise ParameterError(f"{path} has no supported extension; its name must end with one of {listed}")
    if not path.is_file():
        raise ParameterError(f"{path} does not exist; expected {KINDS[kind]}")
    if kind == ".parquet" and missing("pyarrow"):
        check_installed(f"{path}, a Parquet file,", "datasets")
    for observe in observers:
        observe(path)
    if kind == ".parquet":
        return _parquet_rows(path)
    try:
        text = _text(path)
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if kind in _DELIMITERS:
        return _table_rows(path, text, _DELIMITERS[kind])
    if kind == ".json":
        rows = strict_json.parse(text, str(path), error=FormatError)
        if not isinstance(rows, list):
            raise FormatError(f"{path} must contain a list, but contains {type(rows).__name__}")
        return rows
    return [
        strict_json.parse(line, f"{path}, line {number}", error=FormatError) for number, line in numbered_lines(text)
    ]


def _table_rows(path: Path, text: str, delimiter: str) -> list[Row]:
    """Return the rows of a CSV or TSV table; a quoted value may span several lines."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = list(reader.fieldnames or ())
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise FormatError(f"{path}: the header has the field {twice!r:.60} twice")
        rows = list[Row]()
        for row in reader:
            if None in row:
                count = len(names) + len(row[None])
                raise FormatError(
                    f"{path}, row {len(rows) + 1} has {count} values, but the header has {len(names)} names; "
                    "quote values that contain the delimiter"
                )
            rows.append(row)
    except csv.Error as error:
        raise FormatError(f"{path} is not valid {_kind(path)[1:].upper()}: {error}") from error
    return rows


def _parquet_rows(path: Path) -> list[Row]:
    from pyarrow import ArrowException, BufferReader, parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]

    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rows: list[Row] = parquet.read_table(BufferReader(data)).to_pylist()
    except (ArrowException, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path} is not valid Parquet: {error!s:.200}") from error
    return rows


def row_place(path: Path, index: int) -> str:
    """Return the position of a row in a file, counted from 1: the line number for JSON lines, else the row number."""
    if _kind(path) not in (".jsonl", ".ndjson"):
        return f"row {index + 1}"
    return f"line {numbered_lines(_text(path))[index][0]}"


def _kind(path: Path) -> str:
    """Return the extension of a file's name, ignoring ``.gz``."""
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix


def _text(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    return io.TextIOWrapper(io.BytesIO(data), "utf-8-sig").read()  # spreadsheets write a byte-order mark
