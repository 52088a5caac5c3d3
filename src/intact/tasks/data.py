"""Find and read the files of problems."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from intact import strict_json
from intact.errors import FormatError, ParameterError
from intact.files import expand_home, numbered_lines

Row = Mapping[str, Any]
observers: list[Callable[[Path], None]] = []
"""Called with the path of every file of problems that is read."""


def data_folder() -> Path:
    """Return the folder of problems: ``$INTACT_DATA``, by default ``../shared/data``; errors as of `expand_home`."""
    return expand_home(os.environ.get("INTACT_DATA") or "../shared/data")


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file: JSON lines, a JSON list, or CSV with a header.

    Raises
    ------
    ParameterError
        If there is no such file.
    FormatError
        If it is damaged, naming the line.
    """
    if not path.is_file():
        raise ParameterError(f"{path} is absent; expected a file of JSON lines, a JSON list, or CSV with a header")
    for observe in observers:
        observe(path)
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets begin with a byte-order mark
    except (UnicodeDecodeError, OSError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if path.suffix == ".csv":
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        try:
            return list(csv.DictReader(io.StringIO(text, newline="")))  # what stands in quotes may have several lines
        except csv.Error as error:
            raise FormatError(f"{path} is no CSV: {error}") from error
    if path.suffix == ".json":
        rows = strict_json.parse(text, str(path), error=FormatError)
        if not isinstance(rows, list):
            raise FormatError(f"{path} should hold a list, but holds {type(rows).__name__}")
        return rows
    return [
        strict_json.parse(line, f"{path}, line {number}", error=FormatError) for number, line in numbered_lines(text)
    ]


def row_place(path: Path, index: int) -> str:
    """Return where a row of a file that `read_rows` reads stands, from 1: its line, or in JSON and CSV its number."""
    if path.suffix in (".csv", ".json"):
        return f"row {index + 1}"
    return f"line {numbered_lines(path.read_text('utf-8-sig'))[index][0]}"
