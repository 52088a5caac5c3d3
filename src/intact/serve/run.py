"""Run the server on uvicorn."""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from intact.serve.settings import Settings

_LOG = logging.getLogger("intact.serve")
SPARE = 512
"""Open files beside those of connections: models, state, processes."""
GRACE = 30
"""Seconds that requests under way have when the server is asked to end."""


def make_room_for(connections: int) -> None:
    """Let this process open as many files as its connections need; many systems begin with 1,024.

    Where the system allows fewer, that is said: beyond them connections wait until others are closed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _LOG.warning("%d files may be open here, too few for %d connections (ulimit -Hn)", allowed, connections)


def server(app: Any, settings: Settings) -> uvicorn.Server:
    """A server that is not running yet."""

    class Protocol(HttpToolsProtocol):
        """A connection whose headers have to come within a time: uvicorn itself waits for ever."""

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._expect()

        def on_headers_complete(self) -> None:
            self._relax()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._relax()
            super().connection_lost(exc)

        def _expect(self) -> None:
            if self._late is None:
                self._late = self.loop.call_later(settings.header_seconds, self.transport.close)

        def _relax(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.idle_seconds),
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=settings.connections,
    )
    return uvicorn.Server(config)
