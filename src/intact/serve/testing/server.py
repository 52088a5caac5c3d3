"""Middleware that records every request to a server's APIs together with the reply."""

from __future__ import annotations

import threading
from typing import Any

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
