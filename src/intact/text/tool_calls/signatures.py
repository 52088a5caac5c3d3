"""The tools of a request, which a reader uses to recognise calls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.schemas import schema_types


@dataclass(frozen=True)
class ToolSignature:
    """A tool's name and the names of its arguments.

    Attributes
    ----------
    required : set of str
        Arguments that a call must have.
    allowed : set of str or None
        Arguments that a call may have; None if arguments outside the schema are allowed.
    strict : bool
        If true, arguments fit the tool's schema exactly: the model is constrained to the schema once it has written
        `begins`.
    schema : mapping
        JSON schema of the arguments.
    """

    name: str
    required: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None
    strict: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, name: str, parameters: Mapping[str, Any] | None, strict: bool = False) -> ToolSignature:
        """Build a signature from the JSON schema of a tool's parameters; anything undetermined is allowed."""
        schema = parameters or {}
        required, properties = schema.get("required"), schema.get("properties")
        names = [one for one in required if isinstance(one, str)] if isinstance(required, list) else []
        closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
        allowed = frozenset(properties) if closed and isinstance(properties, dict) else frozenset() if closed else None
        return cls(name, frozenset(names), allowed, strict, schema=schema)

    @cached_property
    def begins(self) -> str:
        """Regular expression for a plain JSON call from its name to its arguments: `"name": "f", "arguments":`.

        It is valid in both Python and Rust, so a grammar may contain it.
        """
        space = r"[ \t\r\n]*"
        name = re.escape(json.dumps(self.name))
        return f'"name"{space}:{space}{name}{space},{space}"(?:arguments|parameters)"{space}:'

    def types(self, argument: str) -> frozenset[str] | None:
        """Return the names of the types that the schema allows for an argument; None if it does not restrict them."""
        properties = self.schema.get("properties")
        return schema_types(properties.get(argument), self.schema) if isinstance(properties, dict) else None

    def takes(self, names: Iterable[str]) -> bool:
        """Return true if a call may have exactly these arguments."""
        given = set(names)
        return self.required <= given and (self.allowed is None or given <= self.allowed)


class Signatures:
    """The tools of a request by name."""

    def __init__(self, tools: Iterable[ToolSignature]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def __contains__(self, name: str) -> bool:
        """Return true if there is a tool with this name."""
        return name in self._tools

    def fits(self, call: ParsedCall) -> bool:
        """Return true if a call is to a tool of the request and has valid argument names."""
        tool = self._tools.get(call.name)
        return tool is not None and tool.takes(json.loads(call.arguments, strict=False))

    def types(self, name: str, argument: str) -> frozenset[str] | None:
        """Return the types of a tool's argument; None if the schema does not restrict them or the tool is unknown."""
        return self._tools[name].types(argument) if name in self._tools else None

    def is_strict(self, name: str) -> bool:
        """Return true if there is a strict tool with this name."""
        return name in self._tools and self._tools[name].strict
