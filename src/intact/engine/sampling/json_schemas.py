"""JSON schemas in the form that the constraint compiler accepts: drops annotations, rejects unsupported keywords."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from intact._base.errors import ParameterError

FORMATS: Final = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "unknown", "uri", "uuid"}
)
"""String formats that are enforced; any other is an annotation, as the JSON Schema specification allows."""
NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "uniqueItems": (False,),
    "unevaluatedProperties": (True, {}),
    "unevaluatedItems": (True, {}),
    "propertyNames": (True, {}),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
    "contains": (),
    "minContains": (),
    "maxContains": (),
    "not": (False,),
    "if": (),
    "then": (),
    "else": (),
    "$dynamicRef": (),
    "$recursiveRef": (),
}
"""Keywords that llguidance does not support, with the values that have no effect."""
LARGEST: Final = (1 << 63) - 1024
"""Largest bound for a number: the next double does not fit in 64 bits."""
_LEAST: Final = ("minimum", "exclusiveMinimum")
_MOST: Final = ("maximum", "exclusiveMaximum")
_ONE: Final = ("additionalProperties", "additionalItems", "items")
_SEVERAL: Final = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions")
_OF_TYPE: Final = {
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems", "additionalItems"), "array"),
}
"""Type of the values that a keyword applies to; it does not restrict other types."""


def imposable(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a schema that the compiler accepts and that allows nothing that the given schema rejects.

    Drops unknown formats, and keywords with values that have no effect. Replaces bounds of numbers beyond 64 bits by
    the nearest possible ones.

    Parameters
    ----------
    where : str
        Location of the schema, for error messages.

    Raises
    ------
    ParameterError
        If the compiler does not support a keyword. The message gives its location.
    """
    changed: dict[str, Any] = _without_annotations(schema)
    for place, part in reached(changed, where):
        if lacking := next((name for name in NEUTRAL if name in part), None):
            raise ParameterError(
                f"{place}: {lacking} cannot be enforced during generation; leave it out and check the value yourself"
            )
    return changed


def with_patterns(schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects whose properties may also match patterns: location, and a schema that requires all of them.

    If some values satisfy a property's own schema or its pattern's, but none satisfies both, generation would get stuck
    midway. The compiler rejects the schema only if the property is required.
    """
    for place, part in reached(schema, where):
        properties, patterns = part.get("properties"), part.get("patternProperties")
        if isinstance(properties, Mapping) and isinstance(patterns, Mapping) and properties and patterns:
            names = [name for name, one in properties.items() if one is not False]
            known = {"properties": properties, "patternProperties": patterns}
            yield place, {"type": "object", **known, "additionalProperties": False, "required": names}


def all_required(schema: Mapping[str, Any], objects: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Return the text of a schema that requires the given parts of a schema; a single part is used as it is."""
    if len(objects) == 1:
        return as_text({**definitions(schema), **objects[0][1]})
    named = {f"{i}": one for i, (_, one) in enumerate(objects)}
    return as_text({**definitions(schema), "type": "object", "properties": named, "required": [*named]})


def definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions in a schema that its references may name."""
    return {name: schema[name] for name in ("$defs", "definitions") if name in schema}


def _without_annotations(schema: Any) -> Any:
    """Return a copy of a schema without parts that have no effect."""
    if not isinstance(schema, Mapping):
        return schema
    changed: dict[str, Any] = {}
    may_be_number = "number" in _types(schema, ("number",))
    for name, value in schema.items():
        if _is_neutral(name, value):
            continue
        if name in _LEAST and _is_number(value):
            value = max(value, -LARGEST)
        elif name in _MOST and _is_number(value) and may_be_number:
            value = min(value, LARGEST)
        elif name in _NAMED and isinstance(value, Mapping):
            value = {key: _without_annotations(one) for key, one in value.items()}
        elif name in _SEVERAL and isinstance(value, list):
            value = [_without_annotations(one) for one in value]
        elif name in _ONE:
            value = _without_annotations(value)
        changed[name] = value
    return changed


def _types(schema: Mapping[str, Any], default: Collection[str]) -> Collection[Any]:
    """Return the types that a schema names, or the default."""
    types = schema.get("type")
    return types if isinstance(types, list) else [types] if isinstance(types, str) else default


def _is_neutral(name: str, value: Any) -> bool:
    if name == "format":
        return isinstance(value, str) and value not in FORMATS
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in NEUTRAL.get(name, ()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def reached(schema: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield all parts of a schema that constrain a value, with their locations; definitions only where used."""
    waiting, used = [(where, schema)], set[str]()
    while waiting:
        place, part = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        yield place, part
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in used:
            used.add(reference)
            waiting.append((where + reference.removeprefix("#").replace("/", "."), _find(schema, reference)))
        types = _types(part, _OF_TYPE.values())
        for name, value in part.items():
            if name in _OF_TYPE and _OF_TYPE[name] not in types:
                continue
            if name in _NAMED[:2] and isinstance(value, Mapping):
                waiting += [(f"{place}.{name}.{key}", one) for key, one in value.items()]
            elif name in _SEVERAL and isinstance(value, list):
                waiting += [(f"{place}.{name}[{i}]", one) for i, one in enumerate(value)]
            elif name in _ONE:
                waiting.append((f"{place}.{name}", value))


def _find(schema: Any, reference: str) -> Any:
    """Return the part of a schema that an internal reference names, or None."""
    if not reference.startswith("#"):
        return None
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(schema, Mapping) or name not in schema:
            return None
        schema = schema[name]
    return schema


def as_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as JSON."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
