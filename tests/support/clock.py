"""A system clock that says what a test wants, and models whose chat template writes the date."""

import sys
from datetime import datetime
from pathlib import Path

import pytest

from support.tiny import TEMPLATE, write_tiny

DATED = "{{ strftime_now('%d %B %Y') }} " + TEMPLATE


def write_dated(path: Path, seed: int = 0, context: int = 512) -> Path:
    """Write a tiny model whose chat template begins with the date, and return its path."""
    return write_tiny(path, seed=seed, context=context, metadata={"tokenizer.chat_template": DATED})


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Have all modules of the package that look at the date see this one."""

    class AnyDatetime(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class Clock(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def, override]
            return moment.replace(tzinfo=tz)

    looked = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("intact") and isinstance(vars(module).get("datetime"), type):
            monkeypatch.setattr(module, "datetime", Clock)
            looked += 1
    assert looked
