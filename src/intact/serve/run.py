"""Run the server on uvicorn."""

from __future__ import annotations

import logging
import resource
from typing import Any

import uvicorn

from intact.serve.server import Connection
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

    class Limited(Connection):
        """A connection of this server."""

        limits = settings

    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        http=Limited,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.idle_seconds),
        timeout_graceful_shutdown=GRACE,
    )
    return uvicorn.Server(config)
