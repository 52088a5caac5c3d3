"""Tools of MCP servers (Model Context Protocol), which a user starts: their results are recorded.

A server is a command of the user's, which runs with the user's rights for as long as it is connected; `mcp`, the
official library, speaks with it on a thread of its own.
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
"""Seconds that a server may take to start, and a call by default."""
LOOK: Final = 0.05
"""Seconds after which somebody looks whether a call must end."""


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
        """Return the server's name and version as it states them, and a digest of the tool's inputs."""
        schema = json.dumps(self.schema, sort_keys=True).encode()
        return {"server": self._server.stated, "inputs": hashlib.sha256(schema).hexdigest()}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs, held against the schema that the server states.

        Raises
        ------
        ParameterError
            If they do not fit.
        """
        import jsonschema  # which `mcp` brings

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
            If the server has ended, or breaks the protocol.
        """
        return self._server.call(self._own, values, stop)


class McpServer:
    """A server that is started by a command, and its tools. It is a context manager.

    Parameters
    ----------
    name : str
        What its tools are called by.
    command : sequence of str
        The program and its arguments; it speaks the protocol on standard input and output.
    environment : mapping of str to str, optional
        Variables for it besides the few that the library passes on.
    seconds : float
        The most that its start and each call may take.

    Attributes
    ----------
    tools : mapping of str to McpTool
        Its tools by their names, once it is connected.
    stated : str
        The name and version that it states.

    Raises
    ------
    NotInstalledError
        If the library is missing.
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
        """Start the server, and list its tools.

        Raises
        ------
        ToolError
            If it does not start, or does not speak the protocol.
        """
        self._thread.start()
        try:
            self._ready.result(self.seconds)
        except WaitTimeout:
            self.close()
            raise ToolError(f"the MCP server {self.name} does not answer within {self.seconds:g} seconds") from None
        except Exception as error:
            raise ToolError(f"the MCP server {self.name} does not start: {_reason(error)}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(self.seconds)

    def call(self, tool: str, values: Mapping[str, Any], stop: Event) -> ToolResult:
        """Call a tool, and return what it gives as text.

        Raises
        ------
        ToolError
            If the server has ended, or breaks the protocol.
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
                    raise ToolError(f"the MCP server {self.name} has ended in the middle of a call") from None
            except Exception as error:
                raise ToolError(f"the MCP server {self.name} failed in a call of {tool}: {_reason(error)}") from error
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
        """Hold the connection until it is closed."""
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
                        raise ToolError(f"the MCP server {self.name} has two tools of the name {one.name!r:.60}")
                    self.tools[tool.name] = tool
                self._client = client
                self._ready.set_result(None)
                await self._closing.wait()


def _reason(error: BaseException) -> str:
    """Return an error in a line; of a group the first of its errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]:.200}" if text else type(error).__name__
