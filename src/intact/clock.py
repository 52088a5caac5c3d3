"""The time that chat templates are told which write the date: a fixed one for runs of methods, unless told another."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from intact.errors import ParameterError

DEFAULT_NOW: Final = datetime(2024, 7, 26)
"""The time of runs of methods by default: the date that Llama's own templates write where there is no clock."""


def current() -> datetime:
    """Return the local time of this machine's clock, in whole seconds."""
    return datetime.now().replace(microsecond=0)


def read_time(value: datetime | str) -> datetime:
    """Read a time in ISO 8601, such as ``2026-11-20T17:45:00``; a date alone is its midnight.

    Raises
    ------
    ParameterError
        If it is none.
    """
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ParameterError(f"now must be a time such as 2026-11-20T17:45:00, got {value!r:.60}") from None


def exact_time(text: str) -> datetime | None:
    """Return the time that `datetime.isoformat` writes as this very text, or None if there is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.isoformat() == text else None
