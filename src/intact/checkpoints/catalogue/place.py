"""The store: the folder of pulled models.

A catalogue model is a file in the store. A hub model is in ``hub/OWNER/REPO/REVISION``: `listing.json` lists the
repository's files as of the first pull of any of its models; each model has a folder there and, next to it, a record
that is written once all files of the model are there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from intact._base.errors import FormatError
from intact._base.files import expand_home
from intact._base.strict_json import parse

LISTING = "listing.json"
_LONGEST_FILE = 16 << 20
_ADVICE = "delete its folder and pull the model again"


def cache() -> Path:
    """Return the folder that holds all downloads: ``$INTACT_HOME``, by default ``~/.cache/intact``."""
    return expand_home(os.environ.get("INTACT_HOME") or "~/.cache/intact")


def store() -> Path:
    """Return the folder of pulled models: ``$INTACT_HOME/models``, by default under ``~/.cache/intact``."""
    return cache() / "models"


def quoted(name: str) -> str:
    """Quote a name for use as a file or folder name: letters, digits and ``_.-~`` are kept; all others become %XX."""
    return quote(name, safe="")


def read_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object from the store; None if there is no such file.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_FILE)
    except FileNotFoundError:
        return None
    try:
        value = parse(data, str(path), error=FormatError)
    except FormatError as error:
        raise FormatError(f"{error}; {_ADVICE}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} is not a JSON object; {_ADVICE}")
    return value
