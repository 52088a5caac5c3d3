"""Files that are whole or not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_whole(file: Path, parts: str | Iterable[str]) -> None:
    """Write a text: where that fails or is cut short, what was there before is still there."""
    part = file.with_name(file.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.writelines([parts] if isinstance(parts, str) else parts)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
