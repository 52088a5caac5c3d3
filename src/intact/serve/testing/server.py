"""A server in a thread that records every request to its APIs together with the reply."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intact.serve.models import Models

_PATIENCE = 10.0
"""Seconds that requests may take to finish after the test that sent them."""


class RequestRecorder:
    """An ASGI middleware that records every POST request to an API with its reply."""

    def __init__(self, app: Any) -> None:
        self._app, self._changed, self._running = app, threading.Condition(), 0
        self._kept: list[tuple[str, bytes, bytes]] = []

    def take(self) -> list[tuple[str, bytes, bytes]]:
        """Return the exchanges since the last call, after waiting for streams that clients may have left to end."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, _PATIENCE)
            kept, self._kept = self._kept, []
        return kept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Forward a request."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(("/v1/", "/api/")):
            await self._app(scope, receive, send)
            return
        request, replied, status = bytearray(), bytearray(), 0

        async def receive_and_keep() -> Any:
            message = await receive()
            request.extend(message.get("body", b""))
            return message

        async def send_and_keep(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            replied.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body") and status < 400:
                with self._changed:
                    self._kept.append((scope["path"], bytes(request), bytes(replied)))
            await send(message)

        self._count(1)
        try:
            await self._app(scope, receive_and_keep, send_and_keep)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._running += change
            self._changed.notify_all()


def check(model: str) -> Path:
    """Return the file or folder of a model.

    Raises
    ------
    IntactError
        If it is not on this machine, or packages that the server needs are not installed.
    """
    from intact._base.packages import check_installed
    from intact.checkpoints.catalogue import resolve
    from intact.serve import PACKAGES

    check_installed("the server", *PACKAGES)
    return resolve(model)


@contextmanager
def serving(path: Path, any_name: bool) -> Iterator[tuple[str, RequestRecorder, Models]]:
    """Run a server in a thread on a free loopback port; yield its address, its recorder, and its models.

    Parameters
    ----------
    any_name : bool
        If true, it answers under any model name that a test sends.
    """
    from intact.serve.app import create_app
    from intact.serve.models import Loading, Models
    from intact.serve.server import make_server
    from intact.serve.service import Service
    from intact.serve.settings import ServerSettings

    settings = ServerSettings(port=0, seeds="fixed", any_name=any_name)
    models = Models({"intact": str(path)}, Loading(), settings)
    recorder = RequestRecorder(create_app(Service(settings, models)))
    server = make_server(recorder, settings)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", recorder, models
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
