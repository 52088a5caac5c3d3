"""Tools of MCP servers (Model Context Protocol) that a user starts; their results are recorded.

A server is a command that runs with the user's rights for as long as it is connected. The official library, `mcp`,
communicates with it in a separate thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitTimeout
from threading import Event
from typing import Any, Final, Self

from intact._base.errors import ParameterError, ToolError
from intact._base.packages import check_installed
from intact.reason.tool import MethodTool, ToolInput, ToolResult, clean

SECONDS: Final = 30.0
"""Timeout for starting a server, and default timeout for a call, in seconds."""
LOOK: Final = 0.05
"""Interval between checks of whether a call must end, in seconds."""


class McpTool(MethodTool):
    """A tool of a connected server, named ``mcp:SERVER/TOOL``."""

    inputs: Mapping[str, ToolInput]  # type: ignore[misc]
    replayable = False

    def __init__(self, server: McpServer, description: Any) -> None:
        self._server, self._own = server, str(description.name)
        self.name = f"mcp:{server.name}/{self._own}"  # type: ignore[misc]
        self.line = str(description.description or "").strip() or f"The tool {self._own}."  # type: ignore[misc]
        self.output = "What the server gives."  # type: ignore[misc]
        self.schema: dict[str, Any] = dict(description.input_schema)
        named = self.schema.get("properties") or {}
        self.inputs = {name: ToolInput("json", str(one.get("description", ""))) for name, one in named.items()}

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the server's name and version as reported by the server, and a digest of the tool's input schema."""
        schema = json.dumps(self.schema, sort_keys=True).encode()
        return {"server": self._server.stated, "inputs": hashlib.sha256(schema).hexdigest()}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs, validated against the schema reported by the server.

        Raises
        ------
        ParameterError
            If the inputs do not match the schema.
        """
        import jsonschema  # a dependency of `mcp`

        try:
            jsonschema.validate(dict(values), self.schema)
        except jsonschema.ValidationError as error:
            raise ParameterError(f"the tool {self.name}: {error.message:.300}") from None
        return dict(values)

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Call the tool.

        Raises
        ------
        ToolError
            If the server has exited, or violates the protocol.
        """
        return self._server.call(self._own, values, stop)


class McpServer:
    """A server started by a command, with its tools. Use it as a context manager.

    Parameters
    ----------
    name : str
        Name of the server, used in the names of its tools.
    command : sequence of str
        The program and its arguments; it speaks the protocol on standard input and output.
    environment : mapping of str to str, optional
        Environment variables for the server, in addition to the few that the library passes through.
    seconds : float
        Timeout for starting the server and for each call, in seconds.

    Attributes
    ----------
    tools : mapping of str to McpTool
        The server's tools by name, available once it is connected.
    stated : str
        The name and version reported by the server.

    Raises
    ------
    NotInstalledError
        If the library `mcp` is not installed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> None:
        check_installed("tools of MCP servers", "mcp")
        if not name or "/" in name or not command:
            raise ParameterError(f"an MCP server needs a name without a slash and a command, got {name!r}, {command!r}")
        self.name, self.stated, self.seconds = name, "", seconds
        self.tools: dict[str, MethodTool] = {}
        self._command, self._environment = list(command), dict(environment or {})
        self._loop = asyncio.new_event_loop()
        self._ready: Future[None] = Future()
        self._closing = asyncio.Event()
        self._client: Any = None
        self._ended = ""
        self._thread = threading.Thread(target=self._run, name=f"intact-mcp-{name}", daemon=True)

    def __enter__(self) -> Self:
        """Start the server and list its tools.

        Raises
        ------
        ToolError
            If the server does not start, or does not speak the protocol.
        """
        self._thread.start()
        try:
            self._ready.result(self.seconds)
        except WaitTimeout:
            self.close()
            raise ToolError(f"the MCP server {self.name} did not answer within {self.seconds:g} seconds") from None
        except Exception as error:
            raise ToolError(f"the MCP server {self.name} does not start: {_reason(error)}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(self.seconds)

    def call(self, tool: str, values: Mapping[str, Any], stop: Event) -> ToolResult:
        """Call a tool and return its result as text.

        Raises
        ------
        ToolError
            If the server has exited, or violates the protocol.
        """
        if not self._thread.is_alive():
            raise ToolError(f"the MCP server {self.name} is not connected{self._ended}")
        waiting = asyncio.run_coroutine_threadsafe(
            self._client.call_tool(tool, dict(values), read_timeout_seconds=self.seconds), self._loop
        )
        while True:
            try:
                result = waiting.result(LOOK)
                break
            except WaitTimeout:
                if stop.is_set():
                    waiting.cancel()
                    return ToolResult("(out of time)", "time", False)
                if not self._thread.is_alive():
                    raise ToolError(f"the MCP server {self.name} exited during a call") from None
            except Exception as error:
                raise ToolError(f"the MCP server {self.name} failed in a call to {tool}: {_reason(error)}") from error
        texts = [str(getattr(part, "text", f"({part.type}, which is no text)")) for part in result.content]
        return ToolResult(clean("\n".join(texts)), "error" if result.is_error else "ok")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._ended = f": {_reason(error)}"
            if not self._ready.done():
                self._ready.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Keep the connection open until the server is closed."""
        from mcp import Client, StdioServerParameters, stdio_client

        program, *arguments = self._command
        given = StdioServerParameters(command=program, args=arguments, env=self._environment or None)
        with open(os.devnull, "w") as silent:  # noqa: PTH123 (a device, not a file of ours)
            async with Client(stdio_client(given, silent), cache=None) as client:
                stated = client.server_info
                self.stated = "" if stated is None else f"{stated.name} {stated.version}"
                for one in (await client.list_tools()).tools:
                    tool = McpTool(self, one)
                    if tool.name in self.tools:
                        raise ToolError(f"the MCP server {self.name} has two tools named {one.name!r:.60}")
                    self.tools[tool.name] = tool
                self._client = client
                self._ready.set_result(None)
                await self._closing.wait()


def _reason(error: BaseException) -> str:
    """Format an error on one line; an exception group is represented by its first error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]:.200}" if text else type(error).__name__
