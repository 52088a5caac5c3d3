"""Bodies of requests and answers: read from bytes by their type, stored as JSON, and written back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from intact._base.errors import CassetteError, ReceiptError
from intact._base.strict_json import parse
from intact.serve.cassette.streams import (
    MOST_DEPTH,
    Event,
    encode,
    parse_events,
    parse_lines,
    read_events,
    utf8,
    with_data,
    write_events,
    write_lines,
)
from intact.serve.exchange import with_fixed_boundary

Kind = Literal["json", "events", "lines", "text", "base64"]
KINDS: Final = get_args(Kind)


@dataclass(frozen=True)
class BodyContent:
    """A body.

    Attributes
    ----------
    kind : {"json", "events", "lines", "text", "base64"}
        A JSON value; server-sent events or lines of JSON, as in `streams`; other text; other bytes.
    value : any
        The value, the list of events, the text, or the bytes in base64.
    """

    kind: Kind
    value: Any

    @classmethod
    def of(cls, data: bytes, content_type: str = "") -> BodyContent:
        """Read a body, whose type may be wrong or missing."""
        try:
            if "event-stream" in content_type:
                return cls("events", parse_events(data))
            if "ndjson" in content_type or "jsonl" in content_type:
                return cls("lines", parse_lines(data))
            text = with_fixed_boundary(data).decode()
        except UnicodeDecodeError:
            return cls("base64", base64.b64encode(data).decode())
        if text.lstrip()[:1] in ("{", "["):
            try:
                return cls("json", parse(text, "the body", error=CassetteError, depth=MOST_DEPTH))
            except CassetteError:  # such as NaN, which not every client rejects
                pass
        return cls("text", text)

    @classmethod
    def from_document(cls, value: Any, where: str) -> BodyContent:
        """Parse the result of `to_document`.

        Raises
        ------
        ReceiptError
            If it is damaged.
        """
        if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in KINDS:
            raise ReceiptError(f"{where} must have exactly one member of {', '.join(KINDS)}")
        ((kind, stored),) = value.items()
        return cls(kind, _READERS[kind](stored, f"{where}.{kind}"))

    def to_document(self) -> dict[str, Any]:
        """Return it as a JSON object for a cassette."""
        return {self.kind: self.value}

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the body: event by event, or all at once."""
        if self.kind == "events":
            yield from write_events(self.value)
        elif self.kind == "lines":
            yield from write_lines(self.value)
        elif self.kind == "json":
            yield encode(self.value)
        else:
            yield utf8(self.value) if self.kind == "text" else base64.b64decode(self.value)

    def data(self) -> bytes:
        """Return the bytes of the body."""
        return b"".join(self.chunks())

    def map_texts(self, change: Callable[[Any], Any]) -> BodyContent:
        """Return it with a function applied to its JSON value, to each of its events' values, or to its text."""
        if self.kind in ("events", "lines"):
            return BodyContent(self.kind, [_map_event(event, change) for event in self.value])
        return self if self.kind == "base64" else BodyContent(self.kind, change(self.value))


def _map_event(event: Event, change: Callable[[Any], Any]) -> Event:
    return with_data(event, change(event["data"])) if "data" in event else event | {"text": change(event["text"])}


def _read_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ReceiptError(f"{where} must be a string")
    return value


def _read_base64(value: Any, where: str) -> str:
    text = _read_text(value, where)
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ReceiptError(f"{where} must be base64") from None
    return text


def _read_stream(value: Any, where: str) -> list[Event]:
    if not isinstance(value, list):
        raise ReceiptError(f"{where} must be a list of events")
    return read_events(value, where)


_READERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "json": lambda value, where: value,
    "events": _read_stream,
    "lines": _read_stream,
    "text": _read_text,
    "base64": _read_base64,
}
