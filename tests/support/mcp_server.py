"""A server of a few tools, for tests of the client: it counts, fails, sleeps, dies."""

import os
import time

from mcp.server import MCPServer

server = MCPServer("counting", version="1.5")
calls = 0


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers, and count the calls."""
    global calls
    calls += 1
    return f"{a + b} by call {calls}\x1b[31m"


@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ValueError(why)


@server.tool()
def sleep(seconds: float) -> str:
    """Sleep."""
    time.sleep(seconds)
    return "awake"


@server.tool()
def die() -> str:
    """End the process in the middle of a call."""
    os._exit(3)


if __name__ == "__main__":
    server.run()
