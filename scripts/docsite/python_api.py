"""The reference of the Python library: public packages with the names in `__all__`, and names that pages import."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
import types
from pathlib import Path

import pages
from sphinx.pycode import ModuleAnalyzer

import intact

OPENING = """\
Python
======

The names that ``intact`` and its packages list in ``__all__``, all errors, and what the pages of this documentation
import from other modules. :doc:`/docs/dev/versions` says what is promised from version to version: the names of
``intact`` itself, and what these pages show.

.. toctree::
   :maxdepth: 1

"""
INTERNAL = ("intact._base.process",)
"""Packages that list their names for this package's own use."""
DEVELOPERS = "Develop it"
"""The section of the index whose pages show what is internal."""
INHERITED = "object, tuple, dict, list, str, Enum, Protocol, Generic, BaseException, ABC"
"""Classes whose members are not repeated for the classes that inherit them."""
EXPLAINED = {"__version__": ["The version of this package, a text."]}
"""Values without a docstring of their own."""
_IMPORT = re.compile(r"^(?:>>> )?\s*from (intact[.\w]*) import ([\w, ]+)$", re.MULTILINE)


def _is_module(package: types.ModuleType, name: str) -> bool:
    return isinstance(getattr(package, name), types.ModuleType)


def public(root: Path) -> dict[str, list[str]]:
    """Return the public modules, each with its public names in order; `intact` itself comes first."""
    errors = [
        name for name, value in vars(importlib.import_module("intact._base.errors")).items() if inspect.isclass(value)
    ]
    found = {"intact": [name for name in intact.__all__ if not _is_module(intact, name)]}
    found["intact._base.errors"] = errors
    for module in pkgutil.walk_packages(intact.__path__, "intact."):
        if module.ispkg and module.name not in INTERNAL and hasattr(importlib.import_module(module.name), "__all__"):
            found[module.name] = list(importlib.import_module(module.name).__all__)
    for name, imported in sorted(_imported(root).items()):
        module = importlib.import_module(name)
        more = [one for one in sorted(imported) if one not in found.get(name, []) and not _is_module(module, one)]
        if more:
            found.setdefault(name, []).extend(more)
    return found


def _imported(root: Path) -> dict[str, set[str]]:
    """Return the names that user pages import, by module."""
    found: dict[str, set[str]] = {}
    for heading, listed in pages.sections(root / f"{pages.INDEX}.md", "docs"):
        for _, page in listed if heading != DEVELOPERS else ():
            for module, names in _IMPORT.findall((root / f"{page}.md").read_text("utf-8")):
                if module.startswith("intact.integrations"):
                    continue  # needs the tool
                found.setdefault(module, set()).update(re.findall(r"\w+", names))
    return found


def _docstring(package: str, name: str) -> list[str]:
    """Return the docstring lines below a value's assignment, in whichever module of the package defines it."""
    if name in EXPLAINED:
        return EXPLAINED[name]
    for module in sorted(sys.modules):
        if module == package or module.startswith(f"{package}."):
            found = ModuleAnalyzer.for_module(module).find_attr_docs()
            if ("", name) in found:
                return found["", name]
    raise SystemExit(f"docsite: {package}.{name} has no docstring")


def _directive(package: str, name: str, homes: dict[int, str]) -> str:
    """Return the directive that documents a name, or a link if it is already documented."""
    value, full = getattr(importlib.import_module(package), name), f"{package}.{name}"
    if inspect.isclass(value) or inspect.isroutine(value):
        home = homes.setdefault(id(value), full)
        if home != full:
            return f":py:obj:`{full} <{home}>`\n"
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        bases = "" if value.__bases__ == (object,) else "   :show-inheritance:\n"
        return f".. {kind}:: {full}\n   :members:\n   :inherited-members: {INHERITED}\n{bases}"
    if inspect.isroutine(value):
        return f".. autofunction:: {full}\n"
    return f".. py:data:: {full}\n\n" + "".join(f"   {line}\n" for line in _docstring(package, name))


def _page(package: str, names: list[str], homes: dict[int, str]) -> str:
    title = f"{package}\n{'=' * len(package)}\n"
    opening = f".. automodule:: {package}\n   :no-members:\n"
    return "\n".join([title, opening, *[_directive(package, name, homes) for name in names]])


def write(root: Path, folder: Path) -> None:
    """Write the pages and their index."""
    folder.mkdir(parents=True)
    found = public(root)
    homes: dict[int, str] = {}
    for package, names in found.items():
        (folder / f"{package}.rst").write_text(_page(package, names, homes), "utf-8")
    (folder / "index.rst").write_text(OPENING + "".join(f"   {package}\n" for package in found), "utf-8")
