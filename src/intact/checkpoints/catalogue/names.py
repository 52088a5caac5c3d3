"""Resolve names of models to files or folders, for the library, the command line and the server."""

from __future__ import annotations

import os
from pathlib import Path

from intact._base.errors import ParameterError
from intact._base.files import expand_home
from intact._base.suggest import did_you_mean
from intact.checkpoints.catalogue.aliases import aliases, could_be_alias
from intact.checkpoints.catalogue.entries import CATALOGUE, Entry
from intact.checkpoints.catalogue.hub import PREFIX, HubName
from intact.checkpoints.catalogue.place import store


class MissingModelError(ParameterError):
    """A model of the catalogue or the hub that has not been pulled yet.

    Attributes
    ----------
    name : str or HubName
        Name of the model, with aliases replaced.
    """

    def __init__(self, name: str | HubName) -> None:
        super().__init__(f"model {str(name)!r} has not been pulled yet; run: intact pull {name}")
        self.name = name


def entry(name: str) -> Entry:
    """Return the catalogue's entry for a name.

    Raises
    ------
    ParameterError
        If there is no such name; the message suggests the closest ones.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    known = [*CATALOGUE, *aliases()]
    advice = did_you_mean(name, known) or "intact models lists them (a file is given by its path, such as ./model.gguf)"
    raise ParameterError(f"{name!r} is not a model of the catalogue: {advice}")


def find(name: str) -> Path | None:
    """Return the path of a catalogue model's file, or None if it has not been pulled.

    Raises
    ------
    ParameterError
        If the catalogue has no such name.
    """
    path = store() / entry(name).file
    return path if path.is_file() else None


def expand(text: str) -> str:
    """Return the target of an alias; return any other string unchanged.

    Raises
    ------
    ParameterError
        If the aliases file is invalid; it is read only for strings that have the form of an alias.
    """
    if text in CATALOGUE or not could_be_alias(text):
        return text
    return aliases().get(text, text)


def is_name(text: str) -> bool:
    """Return true if a string is a name from the catalogue or the hub, or an alias."""
    return text in CATALOGUE or HubName.matches(text) or expand(text) != text


def resolve(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file or folder for a name or a path; never downloads.

    A string is tried as a catalogue name, a name on the hub (``hf:...``), an alias and a path, in this order, so a name
    takes precedence over a file of the same name in the working directory (write ``./name`` for the file, or pass a
    `Path`).

    Raises
    ------
    MissingModelError
        If the name has not been pulled.
    ParameterError
        If it is neither a name nor an existing path.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise ParameterError(f"name_or_path must be the name or path of a model, got {name_or_path!r:.60}")
    text = os.fspath(name_or_path)
    if not text:
        raise ParameterError("name_or_path is empty: expected a model's name or path")
    if isinstance(name_or_path, str):
        text = expand(text)
        if text in CATALOGUE:
            if path := find(text):
                return path
            raise MissingModelError(text)
        if text.startswith(PREFIX):
            from intact.checkpoints.catalogue.pulled import find_pulled

            name = HubName.parse(text)
            if path := find_pulled(name):
                return path
            raise MissingModelError(name)
    path = expand_home(text)
    if path.exists():
        return path
    if looks_like_path(text) or not isinstance(name_or_path, str):
        is_hub = isinstance(name_or_path, str) and HubName.matches(PREFIX + text)
        hint = f"; a repository on the hub is named {PREFIX}{text}" if is_hub else ""
        raise ParameterError(f"{text}: no such file or folder{hint}")
    entry(text)
    raise AssertionError("entry() raises for unknown names")


def looks_like_path(text: str) -> bool:
    """Return true if a string that is not a catalogue name looks like a path."""
    return "/" in text or os.sep in text or text.startswith("~") or text.endswith((".gguf", ".safetensors"))
