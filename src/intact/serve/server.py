"""What a connection may do: its headers come within a time and a length, and what is answered is read."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from intact.serve.errors import ApiError
from intact.serve.settings import Settings

_UNSENT = 16 << 10
"""Bytes that the system may keep for a reader that is not ready for them."""


class Connection(HttpToolsProtocol):
    """A connection within limits; uvicorn itself would wait for ever, and keep headers of any length.

    A request that is to be refused for its connection's sake has the error in its state, as `refused`, for the guard.

    Attributes
    ----------
    limits : Settings
    """

    limits: ClassVar[Settings]
    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, even if there are too many already: it is told so."""
        super().connection_made(transport)
        self._is_one_too_many = len(self.connections) > self.limits.connections
        transport.set_write_buffer_limits(0)  # pause_writing is called for the first byte that has to wait
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # the system would hide megabytes that nobody reads
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Read on; where all of it was headers and there are more, they must not become too many."""
        expected = self._late
        super().data_received(data)
        if expected is not None and expected is self._late:
            self._length += len(data)
            if (error := self._too_long(self._length)) is not None:
                self.transport.write(_written(error))
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to read headers."""
        super().on_message_begin()
        self._expect()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._relax()
        length = len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)
        error = self._too_long(length)
        if self._is_one_too_many:
            message = f"there are {self.limits.connections} connections already"
            error = ApiError(503, message, code="too_many_connections", after=1)
        self.scope["state"]["refused"] = error
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Wait for the reader."""
        super().pause_writing()
        self._look(0)

    def resume_writing(self) -> None:
        """Go on: everything was read."""
        self._calm()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._relax()
        self._calm()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self._late is None:
            self._length = 0
            self._late = self.loop.call_later(self.limits.header_seconds, self.transport.close)

    def _relax(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _look(self, before: int) -> None:
        """Leave a reader that has read nothing since the last look; nothing is added while it has something to read."""
        left = self.transport.get_write_buffer_size()
        if left == before:
            self.transport.abort()
        else:
            self._stalled = self.loop.call_later(self.limits.stall_seconds, self._look, left)

    def _calm(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()

    def _too_long(self, length: int) -> ApiError | None:
        most = self.limits.header_bytes
        if length <= most:
            return None
        return ApiError(431, f"the headers are longer than {most:,} bytes", code="headers_too_long")


def _written(error: ApiError) -> bytes:
    """An error as it goes over the wire, where there is no request yet that could be answered."""
    response = error.response()
    headers = [(b"connection", b"close"), *response.raw_headers]
    first = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
    return b"\r\n".join([first, *(name + b": " + value for name, value in headers), b"", response.body])
