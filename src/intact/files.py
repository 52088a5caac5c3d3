"""Files that are whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def write_whole(file: Path, parts: str | Iterable[str]) -> None:
    """Write a text: where that fails or is cut short, be it by the power, what was there before is still there."""
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")  # of two who write at once the last one's stays
    try:
        with part.open("x", encoding="utf-8") as stream:
            stream.writelines([parts] if isinstance(parts, str) else parts)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        if error.filename == str(part):  # of which nobody knows
            error.filename = str(file)
        raise
    finally:
        part.unlink(missing_ok=True)
