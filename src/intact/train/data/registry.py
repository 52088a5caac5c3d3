"""The registry of row formats; other packages add formats through entry points."""

from __future__ import annotations

from inspect import isabstract
from typing import Any, Final

from intact._base.plugins import Registry
from intact.train.data.base import RowFormat


def _name_of(value: Any) -> str | None:
    if isinstance(value, type) and issubclass(value, RowFormat) and not isabstract(value):
        return value.name
    return None


FORMATS: Final[Registry[type[RowFormat]]] = Registry("intact.train.formats", "intact.train.data.formats", _name_of)
