"""Files of answers to judge: one JSON object per line, untrusted until parsed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from intact._base.errors import FormatError
from intact._base.files import numbered_lines, read_text
from intact._base.strict_json import parse
from intact.evaluate.model_judge import FIRST, SECOND, TIE, JudgedItem, Rubric

MOST_ITEMS: Final = 1 << 20
LONGEST: Final = 1 << 20
"""Maximum characters of a line."""
_TEXTS: Final = ("question", "reference", "answer", FIRST, SECOND)


def is_pair_file(path: Path) -> bool:
    """Return true if the first line of a file is a pair.

    Raises
    ------
    FormatError
        If the file cannot be read or has no items.
    """
    return FIRST in _lines(path)[0][1]


def read_items(path: Path, rubric: Rubric) -> list[JudgedItem]:
    """Read the answers or pairs from a file.

    Raises
    ------
    FormatError
        If the file cannot be read or a line is not such an item; the message names the line.
    """
    items: dict[str, JudgedItem] = {}
    for number, value in _lines(path):
        item = _item(value, f"{path}, line {number}", number, rubric)
        if item.id in items:
            raise FormatError(f"{path}, line {number}: an earlier line has the id {item.id!r:.60} too")
        items[item.id] = item
    return list(items.values())


def _lines(path: Path) -> Sequence[tuple[int, dict[str, Any]]]:
    """Return the JSON objects of a file with the numbers of their lines."""
    lines = numbered_lines(read_text(path))
    if not lines or len(lines) > MOST_ITEMS:
        raise FormatError(f"{path} has {len(lines):,} lines; expected 1 to {MOST_ITEMS:,}, one JSON object each")
    found = []
    for number, line in lines:
        where = f"{path}, line {number}"
        if len(line) > LONGEST:
            raise FormatError(f"{where} has {len(line):,} characters; at most {LONGEST:,} are read")
        value = parse(line, where, error=FormatError)
        if not isinstance(value, dict):
            raise FormatError(f"{where} must be a JSON object, got {value!r:.60}")
        found.append((number, value))
    return found


def _item(value: dict[str, Any], where: str, number: int, rubric: Rubric) -> JudgedItem:
    """Parse an item."""
    answers = (FIRST, SECOND) if rubric.is_pair else ("answer",)
    for name in ("question", *answers):
        if not isinstance(value.get(name), str):
            raise FormatError(f"{where}: {name} must be a text, got {value.get(name)!r:.60}")
    fields = {name: value[name] for name in _TEXTS if isinstance(value.get(name), str)}
    name, gold = value.get("id", str(number)), value.get("gold")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise FormatError(f"{where}: id must be a text or a number, got {name!r:.60}")
    known = (FIRST, SECOND, TIE) if rubric.is_pair else rubric.labels
    if gold is not None and gold not in known:
        raise FormatError(f"{where}: gold must be one of {', '.join(known)}, got {gold!r:.60}")
    return JudgedItem(str(name), fields, gold)
