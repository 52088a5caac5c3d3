"""New output folders, complete or absent."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intact._base.errors import ParameterError
from intact._base.files import named_errors


def check_new(to: Path) -> None:
    """Raise if an output exists.

    Raises
    ------
    ParameterError
        If it does.
    """
    if to.exists() or to.is_symlink():
        raise ParameterError(f"{to} already exists; choose a new name")


@contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """Yield a folder that takes the name `to` when the block ends, and is removed if it raises.

    Raises
    ------
    ParameterError
        If `to` exists.
    """
    check_new(to)
    part = to.with_name(f"{to.name}.{secrets.token_hex(8)}.part")
    to.parent.mkdir(parents=True, exist_ok=True)
    part.mkdir()
    try:
        with named_errors(to):
            yield part
            part.rename(to)
    finally:
        shutil.rmtree(part, ignore_errors=True)
