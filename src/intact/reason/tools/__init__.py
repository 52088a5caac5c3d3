"""Tools by name, one per file, for use with `intact.reason.Use`."""

from __future__ import annotations

from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.reason.tool import MethodTool


def _name_of(value: Any) -> str | None:
    """Return the name of a tool class: a subclass of `MethodTool` that defines its own `name`."""
    name = vars(value).get("name") if isinstance(value, type) and issubclass(value, MethodTool) else None
    return name if isinstance(name, str) else None


TOOLS: Final = Registry[type[MethodTool]]("intact.tools", "intact.reason.tools", _name_of)
"""All tools: those defined in this package, and those of other packages."""


def find_tool(name: str) -> MethodTool:
    """Look up a tool by name.

    Raises
    ------
    ParameterError
        If the tool does not exist; the message suggests similar names or lists all tools.
    PluginError
        If the tool belongs to another package that cannot be loaded.
    """
    if name not in TOOLS:
        raise ParameterError(unknown_name(f"no tool named {name!r:.60}", name, TOOLS))
    return TOOLS[name]()
