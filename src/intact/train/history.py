"""The steps of a run, as its folder records them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intact._base import strict_json
from intact._base.errors import FormatError
from intact._base.files import numbered_lines, read_text
from intact.train.run_folder import HISTORY
from intact.train.running import Progress


def read_history(out: Path) -> list[Progress]:
    """Read the history of a run; empty if no step has finished.

    Raises
    ------
    FormatError
        If a line is malformed.
    """
    path = out / HISTORY
    if not path.exists():
        return []
    return [_step(line, f"{path}, line {number}") for number, line in numbered_lines(read_text(path))]


def _step(line: str, where: str) -> Progress:
    value: Any = strict_json.parse(line, where, error=FormatError)
    if not isinstance(value, dict) or not set(Progress._field_defaults) <= value.keys() <= set(Progress._fields):
        raise FormatError(f"{where} is not a step of a run")
    try:
        step = Progress(**value)
    except TypeError as error:
        raise FormatError(f"{where} is not a step of a run: {error}") from error
    numbers = [step.loss, step.rate, step.norm, step.tokens_per_second, step.seconds_left]
    whole = (step.step, step.steps, step.tokens)
    if not all(type(one) is int for one in whole) or not all(isinstance(one, int | float) for one in numbers):
        raise FormatError(f"{where} has a member that is not a number")
    return step
