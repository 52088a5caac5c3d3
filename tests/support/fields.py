"""The fields of a receipt, as its JSON Schema has them, and other values for each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, TypeVar

from intact._base.errors import IntactError

T = TypeVar("T")
Place = tuple[str | int, ...]
UNCHECKED: Final[Mapping[str, Mapping[str, str]]] = {
    "answer": {
        "model.name": "model.name",
        "request.compiler": "compiler",
        "request.decoding.streams.model.name": "decoding.streams.model.name",
    },
    "run": {
        "models.digests.name": "models.name",
        "models.mix.partners.name": "models.mix.partners.name",
        "method.source": "method.source",
        "compiler": "compiler",
        "sandbox.python": "sandbox",
        "sandbox.protection": "sandbox",
        "entries.tool.version": "entries.tools.version",
    },
    "quantised": {"intact": "intact"},
    "superposed": {"model.name": "model.name"},
}
"""For each kind of receipt the fields on which no verdict depends, with their places in `intact receipt show`."""
PARTLY: Final[Mapping[str, Mapping[str, str]]] = {
    "answer": {
        "request.source.text": "prompt.source.given",
        "request.source.now": "prompt.source.now",
        "request.decoding.streams.source.text": "decoding.streams.prompt.source.given",
        "request.decoding.streams.source.now": "decoding.streams.prompt.source.now",
    },
    "run": {"problem.prompt": "problem.prompt", "models.mix.shadow": "models.mix.shadow", "now": "now"},
}
"""The same of fields that are checked only as far as a chat template writes them."""


class SchemaFields:
    """The fields of documents of a schema.

    A field is named by the members on the way to it, such as `output.text`; an object among several of one list has its
    kind before it, such as `entries.tool.version`. A list without objects is a field itself.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def names(self) -> set[str]:
        """Return the names of all fields."""
        return set(self._names(self.schema, ""))

    def of(self, document: Any) -> Iterator[tuple[str, Place]]:
        """Yield the fields that a document has, with the way to each of them."""
        return self._of(document, self.schema, "", ())

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in part:
            found: Any = self.schema
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            part = found
        return part

    def _objects(self, part: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the objects that may stand here, with the kind of each where there are several."""
        part = self._resolved(part)
        objects = [one for one in map(self._resolved, part.get("oneOf", [part])) if "properties" in one]
        return [(one["properties"]["kind"]["const"] if len(objects) > 1 else "", one) for one in objects]

    def _names(self, part: Mapping[str, Any], name: str) -> Iterator[str]:
        part = self._resolved(part)
        items = part.get("items") or {}
        objects = self._objects(items) if isinstance(items, dict) and "prefixItems" not in part else []
        objects = objects or self._objects(part)
        for kind, one in objects:
            for member, inner in one["properties"].items():
                yield from self._names(inner, ".".join(filter(None, (name, kind, member))))
        if not objects:
            yield name

    def _of(self, value: Any, part: Mapping[str, Any], name: str, path: Place) -> Iterator[tuple[str, Place]]:
        part = self._resolved(part)
        items = part.get("items") or {}
        if isinstance(value, list) and "prefixItems" not in part and self._objects(items):
            for number, item in enumerate(value):
                yield from self._of(item, items, name, (*path, number))
        elif isinstance(value, dict) and (objects := self._objects(part)):
            kind, one = next((k, o) for k, o in objects if not k or k == value["kind"])
            for member, inner in value.items():
                below = ".".join(filter(None, (name, kind, member)))
                yield from self._of(inner, one["properties"][member], below, (*path, member))
        elif value is not None or not self._objects(part):
            yield name, path


def members_of(value: Any, path: Place = ()) -> Iterator[tuple[str, Place]]:
    """Yield the members of a document that is read strictly, so that it has all of its form and no others."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from members_of(inner, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from members_of(inner, (*path, number))
    else:
        yield ".".join(part for part in path if isinstance(part, str)), path


def at(document: Any, path: Place) -> Any:
    """Return the value at a place."""
    for name in path:
        document = document[name]
    return document


def changed(document: Any, path: Place, value: Any) -> Any:
    """Return a document with another value at a place."""
    document = deepcopy(document)
    at(document, path[:-1])[path[-1]] = value
    return document


def lies(document: Any, path: Place, read: Callable[[Any], T]) -> Iterator[tuple[T, Any]]:
    """Yield the receipts that a document with another value at a place is, and these values."""
    for value in others(at(document, path)):
        if value != at(document, path):
            with suppress(IntactError):  # no receipt at all
                yield read(changed(document, path, value)), value


def others(value: Any) -> list[Any]:
    """Return other values of the same type; most of them are allowed where the value is."""
    if value is None:
        return ["x", 1]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, list):
        return [*_other_lists(value), []]
    if isinstance(value, dict):
        return [{}, value | {"zz": 1}, *[value | {name: inner} for name in value for inner in others(value[name])]]
    return [*_other_texts(value), "", None]


def _other_lists(value: list[Any]) -> Iterator[list[Any]]:
    if value:
        for last in others(value[-1]):
            yield [*value[:-1], last]
        yield value[:-1]
        yield [*value, value[-1]]
    yield [*value, 1]


def _other_texts(value: str) -> Iterator[str]:
    if value.startswith("{"):
        try:
            members = json.loads(value)
        except ValueError:
            pass
        else:
            for one in (members | {"zz": 1}, *({k: v for k, v in members.items() if k != name} for name in members)):
                yield json.dumps(one, sort_keys=True, ensure_ascii=False)
    if value[-1:].isdigit():
        yield value[:-1] + ("0" if value[-1] != "0" else "1")
    if len(value) > 1:
        yield ("0" if value[0] != "0" else "1") + value[1:]
        yield ("B" if value[0] != "B" else "C") + value[1:]
    yield value + "x"
    yield value + "1"


def listed(root: Path, column: int) -> list[str]:
    """The members in a column of the table of what a true receipt does not vouch for."""
    page = (root / "docs" / "spec" / "receipts.md").read_text("utf-8")
    table = page.split("### What a true receipt does not vouch for")[1].split("\n\n|")[1].split("\n\n")[0]
    return re.findall(r"`([^`]+)`", " ".join(row.split("|")[column + 1] for row in table.splitlines()[2:]))
