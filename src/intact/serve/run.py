"""Run the server on uvicorn."""

from __future__ import annotations

from typing import Any

from intact.errors import ParameterError


def server(app: Any, settings: Any) -> Any:
    """A server that is not running yet.

    Raises
    ------
    ParameterError
        If what the server needs is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ParameterError("the server needs more packages: pip install 'intact[serve]'") from error
    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=settings.idle_seconds,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=30,
        proxy_headers=False,
    )
    return uvicorn.Server(config)
