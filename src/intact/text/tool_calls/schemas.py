"""Types that a JSON schema of arguments allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DEEPEST: Final = 16
"""Maximum nesting depth of references and alternatives that are followed in a schema."""
_KINDS: Final = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def schema_types(schema: Any, root: Any, depth: int = 0) -> frozenset[str] | None:
    """Return the names of the types that a JSON schema allows; None if it does not restrict them.

    Parameters
    ----------
    root : any
        Schema in which references (`#/$defs/NAME`) are resolved.
    """
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if isinstance(kind := schema.get("type"), str | list):
        return frozenset(one for one in ([kind] if isinstance(kind, str) else kind) if isinstance(one, str)) or None
    if isinstance(reference := schema.get("$ref"), str):
        return schema_types(_referred(reference, root), root, depth + 1)
    values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema["const"]] if "const" in schema else []
    if values:
        return frozenset("null" if value is None else _KINDS.get(type(value), "string") for value in values)
    for name in ("anyOf", "oneOf"):
        if isinstance(parts := schema.get(name), list) and parts:
            each = [schema_types(part, root, depth + 1) for part in parts]
            return None if None in each else frozenset[str]().union(*(one for one in each if one))
    for part in schema["allOf"] if isinstance(schema.get("allOf"), list) else ():
        if types := schema_types(part, root, depth + 1):
            return types
    return frozenset({"object"}) if "properties" in schema else frozenset({"array"}) if "items" in schema else None


def _referred(reference: str, root: Any) -> Any:
    """Return the part of a schema that an internal reference points to, or None."""
    path, found = reference.removeprefix("#").strip("/"), root
    for name in path.split("/") if path else ():
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if reference.startswith("#") else None
