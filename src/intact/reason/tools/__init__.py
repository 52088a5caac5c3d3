"""Tools by name, one a file: what `intact.reason.Use` may ask for."""

from __future__ import annotations

from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.reason.tool import MethodTool


def _name_of(value: Any) -> str | None:
    """Return a tool's name: that of a subclass of `MethodTool` with a `name` of its own."""
    name = vars(value).get("name") if isinstance(value, type) and issubclass(value, MethodTool) else None
    return name if isinstance(name, str) else None


TOOLS: Final = Registry[type[MethodTool]]("intact.tools", "intact.reason.tools", _name_of)
"""All tools: those that the files of this package define, and those of other packages."""


def find_tool(name: str) -> MethodTool:
    """Return the tool of a name.

    Raises
    ------
    ParameterError
        If there is none, naming the nearest ones or what there is.
    PluginError
        If it is of another package that cannot be loaded.
    """
    if name not in TOOLS:
        raise ParameterError(unknown_name(f"there is no tool {name!r:.60}", name, TOOLS))
    return TOOLS[name]()
