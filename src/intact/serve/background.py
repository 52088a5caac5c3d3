"""Applications and models served from a thread of this process, on a free loopback port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intact._base.errors import IntactError

if TYPE_CHECKING:
    from intact.serve.models import Models
    from intact.serve.settings import ServerSettings

_STARTUP = 300.0
"""Seconds that a server may take to listen, which does not include loading models."""
_END = 60.0


@contextmanager
def in_background(app: Any, settings: ServerSettings) -> Iterator[str]:
    """Run an ASGI application in a thread, on the settings' port of 127.0.0.1; yield its address.

    Raises
    ------
    IntactError
        If the port is in use, or the application does not start.
    """
    from intact.serve.server import make_server

    server = make_server(app, settings)
    try:
        listening = socket.create_server(("127.0.0.1", settings.port))
    except OSError as error:
        raise IntactError(f"port {settings.port}: {error.strerror or error}; 0 picks a free one") from error
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    end = time.monotonic() + _STARTUP
    try:
        while not server.started:
            if not thread.is_alive() or time.monotonic() > end:
                raise IntactError("the server did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(_END)
        listening.close()


def check_model(model: str) -> Path:
    """Return the file or folder of a model.

    Raises
    ------
    IntactError
        If it is not here, or packages that the server needs are not installed.
    """
    from intact._base.packages import check_installed
    from intact.checkpoints.catalogue import resolve
    from intact.serve import PACKAGES

    check_installed("the server", *PACKAGES)
    return resolve(model)


@contextmanager
def serving(path: Path, any_name: bool, wrap: Callable[[Any], Any] = lambda app: app) -> Iterator[tuple[str, Models]]:
    """Serve a model under the name ``intact``, with seed 0 for requests without one; yield the address and the models.

    Parameters
    ----------
    any_name : bool
        If true, it answers under any model name that a client sends.
    wrap : callable
        Returns the application to run, given the server's.
    """
    from intact.serve.app import create_app
    from intact.serve.models import Loading, Models
    from intact.serve.service import Service
    from intact.serve.settings import ServerSettings

    settings = ServerSettings(port=0, seeds="fixed", any_name=any_name)
    models = Models({"intact": str(path)}, Loading(), settings)
    with in_background(wrap(create_app(Service(settings, models))), settings) as url:
        yield url, models
