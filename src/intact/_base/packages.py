"""The name of this distribution, and its dependencies: finds missing ones and says how to install them."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from typing import Final

from intact._base.errors import NotInstalledError

DISTRIBUTION: Final = "intact-llm"
"""The name of this package on package indexes, where `intact` is a different project; must match pyproject.toml."""
_MODULES: Final = {"llama-index-core": "llama_index.core", "scikit-learn": "sklearn"}
"""Module names of packages that differ from the package name."""


def install(*packages: str) -> str:
    """Return the command that installs packages in compatible versions, without building anything for them."""
    return " ".join(["pip install", *[shlex.quote(_bounded(name)) for name in packages]])


def check_installed(what: str, *packages: str) -> None:
    """Raise unless packages are installed; call this before any work that would be lost.

    Parameters
    ----------
    what : str
        Subject of the message, such as "the server".
    *packages : str
        Their names on package indexes.

    Raises
    ------
    NotInstalledError
        If a package is missing.
    """
    absent = missing(*packages)
    if absent:
        raise NotInstalledError(f"{what} needs {', '.join(absent)}: {install(*absent)}")


def missing(*packages: str) -> list[str]:
    """Return the given packages that are not installed, by their names on package indexes."""
    return [name for name in packages if not _importable(_MODULES.get(name, name.replace("-", "_")))]


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _bounded(name: str) -> str:
    """Return a package's requirement, with version bounds if this package sets an upper one."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        own = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # running from a checkout
        own = []
    for requirement in own:
        found = re.match(r"([\w.-]+)\s*([^\[;]*)", requirement)
        if found and found[1].replace("_", "-") == name and "<" in found[2]:
            return name + found[2].strip(" ()")
    return name
