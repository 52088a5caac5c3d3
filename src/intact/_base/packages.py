"""The name of this distribution, and what it takes from others: what is missing, and the command that installs that."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from typing import Final

from intact._base.errors import NotInstalledError

DISTRIBUTION: Final = "intact-llm"
"""The name of this package in package indexes; `intact` there is another project. pyproject.toml says the same."""
_MODULES: Final = {"scikit-learn": "sklearn"}
"""Modules of packages that are not called like them."""


def install(*packages: str) -> str:
    """Return the command that installs packages, in versions that this one goes with; nothing is built for it."""
    return " ".join(["pip install", *[shlex.quote(_bounded(name)) for name in packages]])


def check_installed(what: str, *packages: str) -> None:
    """Raise unless packages are installed; to be called before the work that would be lost.

    Parameters
    ----------
    what : str
        What needs them, for the error: "the server".
    *packages : str
        Their names on package indexes.

    Raises
    ------
    NotInstalledError
        If one is missing.
    """
    absent = missing(*packages)
    if absent:
        raise NotInstalledError(f"{what} needs {', '.join(absent)}: {install(*absent)}")


def missing(*packages: str) -> list[str]:
    """Return those of some packages, by their names on package indexes, that are not installed."""
    return [name for name in packages if not _importable(_MODULES.get(name, name.replace("-", "_")))]


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _bounded(name: str) -> str:
    """Return a package's name, with the versions that this one requires of it where not every newer one will do."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        own = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a checkout
        own = []
    for requirement in own:
        found = re.match(r"([\w.-]+)\s*([^\[;]*)", requirement)
        if found and found[1].replace("_", "-") == name and "<" in found[2]:
            return name + found[2].strip(" ()")
    return name
