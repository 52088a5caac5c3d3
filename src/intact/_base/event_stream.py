"""Replies of servers, read in parts and only up to a size: whole bodies, and the data of server-sent events.

Source: WHATWG HTML, 9.2 (server-sent events); each ``data`` line of these APIs is an event of its own, a JSON value.
"""

from __future__ import annotations

from intact._base.errors import EndpointError

DONE = b"[DONE]"
"""Data of the last event of OpenAI's streams."""


class ReplyLimit:
    """A limit on the size of a reply.

    Parameters
    ----------
    largest : int
        Maximum size in bytes.
    name : str
        Name of the reply in the error.
    """

    def __init__(self, largest: int, name: str) -> None:
        self._largest, self._name, self._size = largest, name, 0

    def count(self, part: bytes) -> bytes:
        """Return the next part of the reply.

        Raises
        ------
        EndpointError
            If the reply is larger than the limit.
        """
        self._size += len(part)
        if self._size > self._largest:
            raise EndpointError(f"{self._name} is larger than {self._largest:,} bytes")
        return part


class EventReader:
    """Reads the data of events from the parts of a stream, however it is cut.

    Parameters
    ----------
    limit : ReplyLimit
    json_lines : bool
        If true, also accept a stream of plain JSON lines, as Ollama sends them: lines that begin with a brace, until
        there is a ``data`` line.

    Attributes
    ----------
    done : bool
        True once the stream has said that it is complete; what follows is ignored.
    """

    def __init__(self, limit: ReplyLimit, json_lines: bool = False) -> None:
        self._limit, self._json_lines = limit, json_lines
        self._parts: list[bytes] = []  # of an unfinished line; joined only at its end, so that long lines stay linear
        self.done = False

    def feed(self, part: bytes) -> list[bytes]:
        """Return the data of the events that a part completes.

        Raises
        ------
        EndpointError
            If the stream is larger than the limit.
        """
        return self._take(self._limit.count(part))

    def close(self) -> list[bytes]:
        """Return the data of a last line that does not end with a newline."""
        return self._take(b"\n")

    def _take(self, part: bytes) -> list[bytes]:
        self._parts.append(part)
        if b"\n" not in part:
            return []
        *lines, rest = b"".join(self._parts).split(b"\n")
        self._parts = [rest]
        return [data for line in lines if (data := self._data(line)) is not None]

    def _data(self, line: bytes) -> bytes | None:
        line = line.strip()
        field, _, data = line.partition(b":")
        if self.done:
            return None
        if field == b"data":
            self._json_lines, data = False, data.strip()
            self.done = data == DONE
            return None if self.done else data
        return line if self._json_lines and line.startswith(b"{") else None
