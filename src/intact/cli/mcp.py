"""``intact mcp``: an MCP server, with which assistants use this package."""

from __future__ import annotations

from typing import Annotated

import typer

from intact._base.packages import check_installed
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import ModelOption
from intact.cli.options import ProfileOption, ThreadsOption

EXAMPLES = """\
A server on standard input and output; assistants start it with this command
  intact mcp --model smollm2-135m-instruct
Let the assistant meter a server
  intact mcp --endpoint http://127.0.0.1:8000
In the settings of an assistant
  {"mcpServers": {"intact": {"command": "intact", "args": ["mcp"]}}}
"""


def command(
    model: ModelOption = DEFAULT,
    endpoints: Annotated[
        list[str] | None,
        typer.Option("--endpoint", metavar="URL", help="Endpoint that may be metered; repeatable.", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Maximum duration of a call.")] = 300.0,
    tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Maximum tokens written by a call.")] = 100_000,
    requests: Annotated[int, typer.Option("--max-requests", min=1, help="Maximum requests of a metering.")] = 300,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
) -> None:
    """Serve the tools solve, verify, search_tree and meter to an assistant (Model Context Protocol)."""
    check_installed("an MCP server", "mcp", "httpx")
    import anyio

    from intact.integrations.mcp import McpLimits, make_server, serve_stdio

    limits = McpLimits(seconds, tokens, requests)
    server = make_server(lambda: fetch.load(model, profile, threads), endpoints or (), limits)
    anyio.run(serve_stdio, server)
