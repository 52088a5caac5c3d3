"""The folder of a run: header, rows, state, history and receipt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from intact._base import strict_json
from intact._base.errors import FormatError, ParameterError, ReceiptError
from intact._base.files import numbered_lines, read_text, write_whole
from intact.receipts import canonical
from intact.train.examples import Row, row_from_json, row_to_json
from intact.train.receipt.document import TrainingHeader

HEADER: Final = "header.json"
ROWS: Final = "rows.jsonl"
HISTORY: Final = "history.jsonl"
RECEIPT: Final = "train.receipt"
STATES: Final = "states"


def create(out: Path, header: TrainingHeader, rows: Sequence[Row]) -> None:
    """Create the folder of a new run.

    Raises
    ------
    ParameterError
        If it already exists.
    """
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise ParameterError(f"{out} already exists; choose a new folder, or resume the run in it") from None
    write_whole(out / ROWS, rows_text(rows))
    write_whole(out / HEADER, canonical.encode(header.to_document()))


def read_header(out: Path) -> TrainingHeader:
    """Read the header of a run.

    Raises
    ------
    FormatError
        If it is missing or malformed.
    """
    path = out / HEADER
    try:
        return TrainingHeader.from_document(canonical.read(path.read_bytes(), str(path)))
    except OSError as error:
        raise FormatError(f"{path} cannot be read ({error.strerror}); {out} is not the folder of a run") from error
    except ReceiptError as error:
        raise FormatError(f"{path}: {error}") from error


def rows_text(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of rows.jsonl."""
    for row in rows:
        yield json.dumps(row_to_json(row), separators=(",", ":"), sort_keys=True) + "\n"


def read_rows(path: Path) -> list[Row]:
    """Read rows after templating.

    Raises
    ------
    FormatError
        If a line is not a row; the message has its number.
    """
    rows: list[Row] = []
    for number, line in numbered_lines(read_text(path)):
        try:
            rows.append(row_from_json(strict_json.parse(line.encode(), f"line {number}", error=FormatError)))
        except (ParameterError, FormatError) as error:
            raise FormatError(f"{path}: line {number}: {error}") from error
    return rows


def trim_history(out: Path, step: int) -> None:
    """Remove the lines of steps after the last saved state, which will be run again."""
    path = out / HISTORY
    if path.exists():
        lines = [line for _, line in numbered_lines(read_text(path))]
        write_whole(path, "".join(f"{line}\n" for line in lines[:step]))
