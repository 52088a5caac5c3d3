"""The server on uvicorn, with limits on connections: time and length of headers, and clients' reading speed."""

from __future__ import annotations

import asyncio
import logging
import socket
from http import HTTPStatus
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from intact._base.errors import IntactError
from intact._base.system import allow_files
from intact.serve import same_user
from intact.serve.errors import ApiError
from intact.serve.replies import error_reply
from intact.serve.settings import LINGER, ServerSettings

_LOG = logging.getLogger("intact.serve")
SPARE = 512
"""Number of open files other than connections: models, state, processes."""
GRACE = 30
"""Seconds that running requests are given to finish when the server is asked to stop."""
LAST = 2.0
"""Additional seconds that they are given to report their end."""
_UNSENT = 16 << 10
"""Maximum unsent bytes that the system buffers for a slow reader."""


class UnchunkedCycle(RequestResponseCycle):
    """A response for HTTP/1.0, which lacks chunked encoding: a body of unknown length ends with its connection."""

    _has_length = True

    async def send(self, message: Any) -> None:
        """Send part of the response."""
        if message["type"] == "http.response.start":
            self._has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            if not self._has_length:
                self.chunked_encoding = False
        elif not self._has_length:
            self.expected_content_length = len(message.get("body", b""))  # uvicorn compares the two
        await super().send(message)


class Connection(HttpToolsProtocol):
    """A connection with limits; uvicorn itself would wait forever, and accept headers of any length.

    A request's state contains an error, `refusal`, if the middleware must reject it because of its connection.

    Attributes
    ----------
    limits : ServerSettings
    """

    limits: ClassVar[ServerSettings]
    _header_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection even if there are too many; its first request is then rejected."""
        super().connection_made(transport)
        self._is_one_too_many = len(self.connections) > self.limits.connections
        transport.set_write_buffer_limits(0)  # pause_writing is called for the first byte that has to wait
        connection = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and connection.family in (socket.AF_INET, socket.AF_INET6):
            # otherwise the system buffers megabytes that are never read
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        self._start_header_timer()

    def data_received(self, data: bytes) -> None:
        """Process received data, and limit the length of incomplete headers."""
        if self._is_refused:
            return  # discard data while the client reads the error
        expected = self._header_timer
        super().data_received(data)
        if expected is not None and expected is self._header_timer:
            self._length += len(data)
            if (error := self._too_long(self._length)) is not None:
                self._is_refused = True
                self.transport.write(_written(error))
                self.loop.call_later(LINGER, self.transport.close)

    def on_message_begin(self) -> None:
        """Start to read headers."""
        super().on_message_begin()
        self._start_header_timer()

    def on_headers_complete(self) -> None:
        """Start a request."""
        self._stop_header_timer()
        length = len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)
        error = self._too_long(length)
        if self._is_one_too_many:
            message = f"there are already {self.limits.connections} connections"
            error = ApiError(503, message, code="too_many_connections", after=1)
        self.scope["state"]["refusal"] = error
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0" and self.cycle is not None:
            self.cycle.__class__ = UnchunkedCycle

    def pause_writing(self) -> None:
        """Pause writing until the reader catches up."""
        super().pause_writing()
        self._check_reader(0)

    def resume_writing(self) -> None:
        """Resume writing, since the reader has caught up."""
        self._stop_stall_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_header_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._length = 0
            self._header_timer = self.loop.call_later(self.limits.header_seconds, self.transport.close)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _check_reader(self, before: int) -> None:
        """Disconnect a reader that has read nothing since the last check; no data is added in between."""
        left = self.transport.get_write_buffer_size()
        if left == before:
            self.transport.abort()
        else:
            self._stall_timer = self.loop.call_later(self.limits.stall_seconds, self._check_reader, left)

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _too_long(self, length: int) -> ApiError | None:
        most = self.limits.header_bytes
        if length <= most:
            return None
        return ApiError(431, f"the headers are longer than {most:,} bytes", code="headers_too_long")


def _written(error: ApiError) -> bytes:
    """Encode an error as raw HTTP, for a connection without a request that could be answered."""
    response = error_reply(error)
    headers = [(b"connection", b"close"), *response.raw_headers]
    first = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
    return b"\r\n".join([first, *(name + b": " + value for name, value in headers), b"", response.body])


def raise_file_limit(connections: int) -> None:
    """Raise this process's limit on open files for its connections; many systems start with a limit of 1,024.

    Log a warning if the system allows fewer: connections beyond that wait until others are closed.
    """
    allowed = allow_files(connections + SPARE)
    if allowed is not None:
        _LOG.warning("%d files may be open here, too few for %d connections (ulimit -Hn)", allowed, connections)


class EndingServer(uvicorn.Server):
    """A server that gives running requests some time when asked to stop, and then ends them with an error.

    A second signal ends that time; uvicorn itself would ignore it, or abandon requests and models.

    Parameters
    ----------
    cut : Event
        Set when running requests must end immediately.
    """

    def __init__(self, config: uvicorn.Config, cut: asyncio.Event) -> None:
        super().__init__(config)
        self._cut, self._is_urgent = cut, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Count a signal; a third one is left to uvicorn, which on SIGINT abandons everything."""
        if self.should_exit and not self._is_urgent:
            self._is_urgent = True
        else:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and log the addresses; tools that start the server in a container wait for these lines."""
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                _LOG.info("Listening on %s:%d", f"[{host}]" if ":" in host else host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down."""
        cutting = asyncio.create_task(self._cut_in_time())
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    async def _cut_in_time(self) -> None:
        """End requests when their time is up; disconnect those that still do not end, such as stalled uploads."""
        loop = asyncio.get_running_loop()
        end = loop.time() + GRACE
        while loop.time() < end and not self._is_urgent:
            await asyncio.sleep(0.05)
        if self.server_state.tasks:
            _LOG.warning("the server is shutting down and cuts off %d requests", len(self.server_state.tasks))
        self._cut.set()
        await asyncio.sleep(LAST)
        for task in self.server_state.tasks:
            task.cancel()
        await asyncio.sleep(0.05)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class SameUserServer(EndingServer):
    """A server that also listens on its own user's Unix socket, if the system supports it.

    Otherwise it still serves, and logs the reason; commands then load models themselves.
    """

    unix_socket: socket.socket | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        try:
            listening = same_user.listen()
        except (IntactError, OSError) as error:
            _LOG.info("intact run cannot use this server: %s", error)
            return
        self.unix_socket = listening
        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_unix_server(self._protocol, sock=listening, backlog=self.config.backlog))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down."""
        if self.unix_socket is not None:
            same_user.hide(self.unix_socket)  # closed with the others
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[no-any-return]


def make_server(
    app: Any, settings: ServerSettings, cut: asyncio.Event | None = None, kind: type[EndingServer] | None = None
) -> EndingServer:
    """Return a server of a given class, by default `EndingServer`, not yet running; `cut` is as for that class."""

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
        timeout_graceful_shutdown=int(GRACE + 3 * LAST),
    )
    return (kind or EndingServer)(config, cut or asyncio.Event())
