"""The agents of agent_load.py: the tests of examples/agent_test in worker processes, recording every request."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from intact.serve.exchange import Exchange
from intact.serve.testing.server import RequestRecorder

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "agent_test"
FILE = "test_agent.py"


class Forwarding:
    """An ASGI application that forwards requests to a server; the tests' client sends its requests to it."""

    def __init__(self, url: str) -> None:
        self._url = url
        # keep no connection: the next request may go to a restarted server
        self._client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_keepalive_connections=0))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {"content-type": "application/json"}
        reply = await self._client.request(scope["method"], self._url + scope["path"], content=body, headers=headers)
        kept = [(b"content-type", reply.headers.get("content-type", "application/json").encode())]
        await send({"type": "http.response.start", "status": reply.status_code, "headers": kept})
        await send({"type": "http.response.body", "body": reply.content})


def recorded(url: str) -> tuple[str, RequestRecorder]:
    """Return the address of a forwarder that runs in a thread, and the recorder of its requests."""
    recorder = RequestRecorder(Forwarding(url))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(recorder, lifespan="off", log_level="warning"))
    threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}", recorder


def attempt(test: Callable[[], None], recorder: RequestRecorder) -> dict[str, Any]:
    """Run one test; return its exchanges, the assertion that failed, and any other error."""
    failed, error = "", ""
    try:
        test()
    except AssertionError as reason:
        failed = str(reason) or "an assertion failed"
    except Exception as reason:
        error = f"{type(reason).__name__}: {reason}"[:300]
    names: dict[str, str] = {}
    exchanges = [Exchange(*one, names).to_dict() for one in recorder.take()]
    return {"exchanges": exchanges, "failed": failed, "error": error}


def tests_of_the_example() -> dict[str, Callable[[], None]]:
    """Return the tests by their names in the lock file."""
    sys.path.insert(0, str(EXAMPLE))
    module = importlib.import_module(FILE.removesuffix(".py"))
    return {f"{FILE}::{name}": test for name, test in vars(module).items() if name.startswith("test_")}


def work(url: str, tests: Mapping[str, Callable[[], None]], connection: Connection) -> None:
    """Run all tests once per request from the parent process, until killed."""
    here, recorder = recorded(url)
    os.environ |= {"OPENAI_BASE_URL": f"{here}/v1", "OPENAI_API_KEY": "none"}
    while True:
        connection.recv()
        connection.send({name: attempt(test, recorder) for name, test in tests.items()})


class Agents:
    """Processes that run the tests, forked after everything is imported.

    Parameters
    ----------
    count : int
        Number of processes.
    url : str
        Address of the server.
    """

    def __init__(self, count: int, url: str) -> None:
        fork, tests = multiprocessing.get_context("fork"), tests_of_the_example()
        pairs = [fork.Pipe() for _ in range(count)]
        self._ours = [ours for ours, _ in pairs]
        self._processes = [fork.Process(target=work, args=(url, tests, theirs), daemon=True) for _, theirs in pairs]
        for process in self._processes:
            process.start()

    async def run(self, who: int) -> dict[str, Any]:
        """Let one process run all tests; return exchanges, failed assertion and error of each."""
        connection, process = self._ours[who], self._processes[who]
        connection.send(None)
        while not connection.poll():
            if not process.is_alive():
                raise SystemExit(f"an agent ended with status {process.exitcode}")
            await asyncio.sleep(0.1)
        return dict(connection.recv())

    def close(self) -> None:
        """Kill all processes."""
        for process in self._processes:
            process.kill()
            process.join()
