"""User-defined names of models in ``~/.config/intact/aliases.toml``: ``name = "hf:owner/repo"``, or a path."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from intact._base.errors import ParameterError
from intact._base.files import expand_home
from intact.checkpoints.catalogue.entries import CATALOGUE
from intact.checkpoints.catalogue.hub import PREFIX, HubName

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_LONGEST_FILE = 1 << 20


def aliases_file() -> Path:
    """Return the path of the aliases file, existing or not: in ``$XDG_CONFIG_HOME/intact`` or ``~/.config/intact``."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (base if base.is_absolute() else expand_home("~/.config")) / "intact" / "aliases.toml"


def aliases() -> dict[str, str]:
    """Return each alias's target, a name on the hub or an absolute path; empty if there is no aliases file.

    Raises
    ------
    ParameterError
        If the file cannot be read, or has an invalid entry; the message names the line.
    """
    path = aliases_file()
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_FILE + 1).decode()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} cannot be read: {error}") from error
    if len(text) > _LONGEST_FILE:
        raise ParameterError(f"{path} is longer than {_LONGEST_FILE} bytes")
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParameterError(f"{path} is not valid TOML: {error}") from error
    return {name: _checked(name, value, f"{path}, line {_line(name, text)}") for name, value in table.items()}


def could_be_alias(text: str) -> bool:
    """Return true if a string has the form of an alias."""
    return _NAME.fullmatch(text) is not None


def _checked(name: str, value: object, where: str) -> str:
    if not could_be_alias(name):
        raise ParameterError(f"{where}: an alias consists of letters, digits and ._-, at most 64, got {name!r:.80}")
    if name in CATALOGUE:
        raise ParameterError(f"{where}: {name} is already a name of the catalogue; choose another one")
    expected = '"hf:OWNER/REPO", or a path that begins with / or ~'
    if not isinstance(value, str):
        raise ParameterError(f"{where}: {name} must be {expected}, got {value!r:.80}")
    if value.startswith(PREFIX):
        try:
            HubName.parse(value)
        except ParameterError as error:
            raise ParameterError(f"{where}: {error}") from error
        return value
    try:
        place = expand_home(value) if "\0" not in value else Path()
    except ParameterError as error:
        raise ParameterError(f"{where}: {error}") from error
    if not place.is_absolute():
        raise ParameterError(f"{where}: {name} must be {expected}, got {value!r:.80}")
    return str(place)


def _line(name: str, text: str) -> int:
    """Return the line number of a top-level key, or of a table of this name."""
    key = rf"""\s*\[*\s*(["']?){re.escape(name)}\1\s*[\].=]"""
    return next((number for number, line in enumerate(text.splitlines(), 1) if re.match(key, line)), 1)
