"""A listening rank: holds one model, serves one rank 0 at a time."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Thread

from intact._base.errors import ParameterError, WorkerError
from intact.library.parallel.channel import Channel
from intact.library.parallel.session import run_session


def listen_at(address: tuple[str, int]) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    ParameterError
        If it cannot listen at this address.
    """
    host, port = address
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(address, family=family)
    except OSError as error:
        raise ParameterError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error


def serve_shard(listener: socket.socket, model: Path) -> None:
    """Serve each rank 0 that connects, one at a time; refuse other connections meanwhile. Never returns."""
    session: Thread | None = None
    with listener:
        while True:
            connection, _ = listener.accept()
            channel = Channel(connection, "rank 0")
            if session is not None:
                session.join(0.5)  # the previous client may just have left
            if session is not None and session.is_alive():
                channel.end_by(WorkerError("this shard is already in use by another rank 0"))
                continue
            session = Thread(target=run_session, args=(channel, model), daemon=True)
            session.start()
