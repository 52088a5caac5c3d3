"""Frames between ranks over a socket: a header, then numbers or JSON. Nothing is pickled, and every size is bounded."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base import strict_json
from intact._base.errors import ParameterError, WorkerError

HEADER: Final = struct.Struct("<4sBBHIQ")
"""Magic, kind, element type of numbers, 0, place, payload bytes."""
MOST_JSON: Final = 1 << 16
MOST_NUMBERS: Final = 1 << 23
"""Limit on the numbers in a step's plan."""
_MAGIC: Final = b"intR"
_TYPES: Final[dict[int, np.dtype[Any]]] = {1: np.dtype("<i4"), 2: np.dtype("<i8"), 3: np.dtype("<f4")}
_CODES: Final = {dtype: code for code, dtype in _TYPES.items()}
_TIMEOUT: Final = 300.0
_LINGER: Final = 2.0


class FrameKind(IntEnum):
    """The kinds of frames."""

    HELLO = 1
    READY = 2
    ERROR = 3
    STEP = 4
    ROWS = 5
    RESERVE = 6
    COPY = 7
    MOVE = 8
    DONE = 9
    NO_MEMORY = 10
    PROMPT = 11
    PAGE = 12


class Frame(NamedTuple):
    """A received frame."""

    kind: FrameKind
    code: int
    place: int
    data: bytearray


def choose_timeout() -> float:
    """Return the number of seconds of silence after which a rank is considered lost: INTACT_RANK_TIMEOUT, else 300.

    Raises
    ------
    ParameterError
        If the variable is not a positive number.
    """
    chosen = os.environ.get("INTACT_RANK_TIMEOUT", "")
    try:
        seconds = float(chosen or _TIMEOUT)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ParameterError(f"INTACT_RANK_TIMEOUT must be a positive number of seconds, got {chosen!r:.40}")
    return seconds


class Channel:
    """One end of a connection between two ranks.

    Parameters
    ----------
    connection : socket
        A connected socket; the channel takes ownership of it.
    name : str
        Name of the other end in messages, such as "rank 2 (process 4711)".
    reason : function, optional
        Returns the reason why the other end is gone, if known.

    Attributes
    ----------
    sent, received : int
        Number of bytes so far.
    """

    def __init__(self, connection: socket.socket, name: str, reason: Callable[[], str] = str) -> None:
        self.name, self._socket, self._reason = name, connection, reason
        self.sent = self.received = 0
        connection.settimeout(choose_timeout())
        if connection.family != getattr(socket, "AF_UNIX", None):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def within(self, seconds: float) -> None:
        """Set the timeout in seconds for waiting on the other end."""
        self._socket.settimeout(seconds)

    def send(self, kind: FrameKind, data: bytes | memoryview = b"", code: int = 0, place: int = 0) -> None:
        """Send a frame.

        Raises
        ------
        WorkerError
            If the other end is gone, or accepts no data before the timeout.
        """
        header = HEADER.pack(_MAGIC, kind, code, 0, place & 0xFFFFFFFF, len(data))
        try:
            if len(data) < 1 << 16:
                self._socket.sendall(header + data)
            else:
                self._socket.sendall(header)
                self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error
        self.sent += len(header) + len(data)

    def receive(self, *kinds: FrameKind, most: int = 0, patient: bool = False) -> Frame:
        """Return the next frame, which must be of one of these kinds and have at most `most` bytes.

        If `patient` is true, wait without a timeout: the other end sends nothing while no request is running.

        Raises
        ------
        WorkerError
            If the other end is gone, sends an error or an unexpected frame, or sends nothing before the timeout.
        """
        seconds = self._socket.gettimeout()
        if patient:
            self._socket.settimeout(None)
        magic, kind, code, _, place, length = HEADER.unpack(self._read(HEADER.size))
        self._socket.settimeout(seconds)
        if magic == _MAGIC and kind == FrameKind.ERROR and length <= MOST_JSON:
            raise WorkerError(f"{self.name}: {self._read(length).decode('utf-8', 'replace'):.2000}")
        if magic != _MAGIC or kind not in kinds or length > most:
            wanted = " or ".join(one.name for one in kinds)
            raise WorkerError(
                f"{self.name} sent {length:,} bytes of kind {kind}; expected {wanted} of at most {most:,} bytes"
            )
        self.received += HEADER.size + length
        return Frame(FrameKind(kind), code, place, self._read(length))

    def send_json(self, kind: FrameKind, members: Mapping[str, Any]) -> None:
        """Send an object as JSON."""
        self.send(kind, json.dumps(members).encode())

    def receive_json(self, kind: FrameKind, names: Collection[str]) -> strict_json.Fields:
        """Receive a JSON object with exactly these members."""
        data, what = bytes(self.receive(kind, most=MOST_JSON).data), f"what {self.name} sent"
        return strict_json.Fields(strict_json.parse(data, what, floats=False), what, names)

    def send_numbers(self, kind: FrameKind, numbers: NDArray[np.int64], place: int = 0) -> None:
        """Send a list of integers."""
        self.send(kind, np.ascontiguousarray(numbers, "<i8").reshape(-1).view(np.uint8).data, place=place)

    def end_by(self, error: BaseException) -> None:
        """Send an error message for the other end to report, and close; ignore failures if the other end is gone."""
        with suppress(WorkerError, OSError):
            self.send(FrameKind.ERROR, str(error).encode()[:2000])
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(_LINGER)
            for _ in range(1 << 10):  # unread data would make the system discard the message
                if not self._socket.recv(1 << 16):
                    break
        self.close()

    def send_rows(self, rows: NDArray[Any], place: int) -> None:
        """Send rows of numbers; 64-bit integers are sent as 32-bit if they all fit."""
        if rows.dtype == np.int64 and rows.size and -(1 << 31) <= int(rows.min()) <= int(rows.max()) < 1 << 31:
            rows = rows.astype(np.int32)
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        self.send(FrameKind.ROWS, data, _CODES[rows.dtype], place)

    def receive_rows(self, shape: tuple[int, int], dtype: np.dtype[Any], place: int) -> NDArray[Any]:
        """Receive rows with this shape, place and type; 64-bit integers may arrive as 32-bit."""
        count = shape[0] * shape[1]
        frame = self.receive(FrameKind.ROWS, most=count * dtype.itemsize)
        found = _TYPES.get(frame.code)
        fits = found == dtype or (found == np.int32 and dtype == np.int64)
        if not fits or found is None or frame.place != place & 0xFFFFFFFF or len(frame.data) != count * found.itemsize:
            raise WorkerError(f"{self.name} sent rows of another exchange: its program differs from that of rank 0")
        rows: NDArray[Any] = np.frombuffer(frame.data, found).reshape(shape)
        return rows

    def close(self) -> None:
        """Close the connection, which also ends any wait on it, here and at the other end."""
        with suppress(OSError):  # the other end may have gone
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self, length: int) -> bytearray:
        data = bytearray(length)
        view, at = memoryview(data), 0
        while at < length:
            try:
                count = self._socket.recv_into(view[at:])
            except OSError as error:
                raise self._lost(error) from error
            if not count:
                raise self._lost(None)
            at += count
        return data

    def _lost(self, error: OSError | None) -> WorkerError:
        if isinstance(error, TimeoutError):
            return WorkerError(f"{self.name} sent nothing for {self._socket.gettimeout():g} s (INTACT_RANK_TIMEOUT)")
        reason = self._reason() or (f"{error.strerror}" if error is not None and error.strerror else "")
        return WorkerError(f"{self.name} has ended{': ' + reason if reason else ''}; load the model again")
