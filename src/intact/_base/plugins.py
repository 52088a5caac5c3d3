"""Registries: plugins of one kind by name, from a package's files and from other packages' entry points.

Each kind of plugin (reasoning methods, scorers, architectures) has a package in this project, whose files define one
plugin each, and an entry point group. There is no central list of plugins. The package creates the registry once::

    METHODS = Registry("intact.methods", "intact.reason.methods", lambda value: getattr(value, "name", None))

    METHODS["beam_search"]        # a plugin by name; KeyError if there is none, PluginError if its package is broken
    list(METHODS)                 # all names, sorted; imports all files of the kind, and no other package
    METHODS.working()             # a dict of the loadable plugins: a broken package removes only its own
    METHODS.problems()            # a dict of the PluginErrors of the rest
    METHODS.origin("beam_search") # "intact", or the package and version that provides it, such as "my-methods 1.2"

Other packages add plugins in their ``pyproject.toml``; an entry point's name is the plugin's name::

    [project.entry-points."intact.methods"]
    my_method = "my_package.methods:my_method"

Nothing is imported until a registry is used, and then, if a file has the plugin's name, only that file. A plugin from
another package never replaces one of this project.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, Generic, TypeVar, cast

from intact._base.errors import PluginError

T = TypeVar("T")


def pieces(package: str, name_of: Callable[[Any], str | None]) -> dict[str, Any]:
    """Return the plugins of one kind that the modules of a package in this project define, sorted by name.

    Parameters
    ----------
    name_of : callable
        Returns the name of an object if it is a plugin, else None. Called with everything a module defines or imports.

    Raises
    ------
    PluginError
        If two plugins have the same name.
    """
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        for value in vars(importlib.import_module(f"{package}.{module.name}")).values():
            name = name_of(value)
            if name is not None and found.setdefault(name, value) is not value:
                raise PluginError(f"{package}: two objects are named {name!r}; names must be unique")
    return dict(sorted(found.items()))


class Registry(Mapping[str, T], Generic[T]):
    """Plugins of one kind, sorted by name.

    Parameters
    ----------
    group : str
        The entry point group, such as ``intact.methods``.
    package : str
        The package in this project whose modules define plugins, such as ``intact.reason.methods``.
    name_of : callable
        Returns the name of an object if it is a plugin of this kind, else None. Called with everything that a module
        defines or imports, and with the objects of entry points.
    """

    def __init__(self, group: str, package: str, name_of: Callable[[Any], str | None]) -> None:
        self.group, self.package, self._name_of = group, package, name_of
        self._loaded: dict[str, T] = {}

    @cached_property
    def own(self) -> Mapping[str, T]:
        """The plugins of this project, sorted by name."""
        return pieces(self.package, self._name_of)

    @cached_property
    def _foreign(self) -> Mapping[str, list[EntryPoint]]:
        """Entry points of other packages, by name."""
        found: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            found.setdefault(entry.name, []).append(entry)
        return found

    def _find(self, name: object) -> T | None:
        """Return a plugin of this project, or None; if a file has its name, only that file is imported."""
        file = re.sub(r"\W", "_", name) if isinstance(name, str) else ""
        if "own" not in vars(self) and file.isidentifier() and not file.startswith("_"):
            module = f"{self.package}.{file}"
            if importlib.util.find_spec(module) is not None:
                for value in vars(importlib.import_module(module)).values():
                    if self._name_of(value) == name:
                        return cast(T, value)
        return self.own.get(cast(str, name))

    def __getitem__(self, name: str) -> T:
        """Return a plugin.

        Raises
        ------
        KeyError
            If there is no such plugin.
        PluginError
            If another package provides it, and that package cannot be loaded.
        """
        if (own := self._find(name)) is not None:
            return own
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.own, *self._foreign}))

    def __len__(self) -> int:
        return len({*self.own, *self._foreign})

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None or name in self._foreign

    def origin(self, name: str) -> str:
        """Return the package that provides a plugin: ``intact``, or another package's name and version."""
        return "intact" if self._find(name) is not None else ", ".join(map(_package_of, self._foreign[name]))

    def working(self) -> dict[str, T]:
        """Return the loadable plugins, sorted by name."""
        return dict(sorted((self.foreign() | dict(self.own)).items()))

    def usable(self, name: str) -> T | None:
        """Return a plugin, or None if it does not exist or cannot be loaded."""
        own = self._find(name)
        return self.foreign().get(name) if own is None else own

    def naming(self, words: Iterable[str]) -> dict[str, T]:
        """Return the plugins whose module's source quotes one of the given strings, and those from other packages.

        No other module is imported. If sources cannot be read, all plugins are returned.
        """
        if "own" in vars(self):
            return self.working()
        quoted, found = [f'"{word}"' for word in words], self.foreign()
        for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            spec = importlib.util.find_spec(f"{self.package}.{module.name}")
            source = spec.loader.get_source(spec.name) if spec and isinstance(spec.loader, InspectLoader) else None
            if source is None:
                return self.working()
            if any(word in source for word in quoted):
                values = vars(importlib.import_module(f"{self.package}.{module.name}")).values()
                found |= {name: cast(T, value) for value in values if (name := self._name_of(value)) is not None}
        return dict(sorted(found.items()))

    def foreign(self) -> dict[str, T]:
        """Return the loadable plugins from other packages, sorted by name."""
        problems = self.problems()
        return {name: self[name] for name in sorted(self._foreign) if name not in problems}

    def entry(self, name: str) -> EntryPoint | None:
        """Return the entry point of another package's plugin; None unless there is exactly one."""
        found = self._foreign.get(name, [])
        return found[0] if len(found) == 1 else None

    def problems(self) -> dict[str, PluginError]:
        """Return the reasons why plugins from other packages cannot be used, by name."""
        found = {}
        for name in sorted(self._foreign):
            try:
                if self._find(name) is not None:
                    raise PluginError(f"{self._where(name)}: intact itself uses this name; choose another one")
                self[name]
            except PluginError as error:
                found[name] = error
        return found

    def _load(self, name: str) -> T:
        if len(self._foreign[name]) > 1:
            raise PluginError(f"{self._where(name)}: more than one package uses this name; uninstall all but one")
        try:
            value = self._foreign[name][0].load()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise PluginError(f"{self._where(name)}: cannot be loaded ({problem:.300})") from error
        if self._name_of(value) != name:
            raise PluginError(
                f"{self._where(name)}: refers to {value!r:.80}; expected an object named {name!r} of the kind "
                f"registered in {self.package}"
            )
        return cast(T, value)

    def _where(self, name: str) -> str:
        packages = ", ".join(map(_package_of, self._foreign[name]))
        return f"package {packages}: entry point {name!r} of group {self.group}"


def installed(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _package_of(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(name unknown)"
