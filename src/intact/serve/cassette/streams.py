"""Streams as lists of events that do not depend on chunking: parsed, stored, and written again as valid streams.

A stored event is a JSON object: `data`, the event's JSON value, or `text`, if it is not JSON; and optionally `event`,
`id` and `lengths`. Consecutive events that differ only in one generated text are stored once, with the joined text and
the lengths of its parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from intact._base.errors import CassetteError
from intact._base.strict_json import Fields, is_integer, parse, quote

Event = dict[str, Any]
"""A stored event."""
TEXTS: Final = frozenset(
    (
        *("arguments", "content", "delta", "partial_json", "reasoning", "reasoning_content"),
        *("refusal", "response", "text", "thinking"),
    )
)
"""Members of events, in any API, that hold a part of a generated text."""
MOST_BYTES: Final = 64 << 20
"""Maximum bytes of a body."""
MOST_DEPTH: Final = 96
"""Maximum nesting depth of a JSON value in a body, less than that of the file; deeper values are stored as text."""
_NUMBER: Final = "sequence_number"
"""Member that counts the events of a stream of OpenAI's responses API."""
_PADDING: Final = "obfuscation"
"""Member of random length that OpenAI adds to events, to hide the lengths of tokens."""
_TIME: Final = "created_at"
_LINE: Final = re.compile(rb"\r\n|\r|\n")


def encode(value: Any) -> bytes:
    """Encode a value as JSON without spaces; a text with a lone surrogate is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def utf8(text: str) -> bytes:
    """Encode a text, with a question mark for each lone surrogate."""
    return text.encode(errors="replace")


def parse_events(data: bytes) -> list[Event]:
    """Parse server-sent events (WHATWG HTML, 9.2); comments and retry times are dropped.

    Raises
    ------
    UnicodeDecodeError
        If it is not UTF-8.
    """
    found: list[Event] = []
    current: dict[str, list[str]] = {}
    for line in [*_LINE.split(data.removeprefix(b"\xef\xbb\xbf")), b""]:
        if line:
            name, _, value = line.decode().partition(":")
            current.setdefault(name, []).append(value.removeprefix(" "))
        elif current:
            if "data" in current or "event" in current:
                found.append(_parsed_event(current))
            current = {}
    return join_texts(found)


def _parsed_event(fields: Mapping[str, Sequence[str]]) -> Event:
    event: Event = {name: fields[name][-1] for name in ("event", "id") if name in fields}
    return event | parse_value("\n".join(fields.get("data", ())))


def parse_value(text: str) -> Event:
    """Return the members of a stored event for a text: JSON as `data`, anything else as `text`."""
    try:
        value = parse(text, "the event", error=CassetteError, depth=MOST_DEPTH)
    except CassetteError:
        return {"text": text}
    if isinstance(value, dict):
        value.pop(_PADDING, None)
    return {"data": value}


def parse_lines(data: bytes) -> list[Event]:
    """Parse lines of JSON.

    Raises
    ------
    UnicodeDecodeError
        If it is not UTF-8.
    """
    return join_texts([parse_value(line.decode()) for line in data.split(b"\n") if line.strip()])


def join_texts(events: Sequence[Event]) -> list[Event]:
    """Join consecutive events that differ only in one generated text, in their sequence numbers, or in their times."""
    joined: list[Event] = []
    run: list[Event] = []
    for event in events:
        if run and not _continues(run, event):
            joined.append(_join(run))
            run = []
        run.append(event)
    return joined + ([_join(run)] if run else [])


def _continues(run: Sequence[Event], event: Event) -> bool:
    first = run[0]
    place = _text_place(event)
    if place is None or place != _text_place(first) or event.get("event") != first.get("event") or "id" in event:
        return False
    number = first["data"].get(_NUMBER)
    if number is not None and event["data"].get(_NUMBER) != number + len(run):
        return False
    return _without(first["data"], place) == _without(event["data"], place)


def _text_place(event: Event) -> tuple[str | int, ...] | None:
    """Return the location of an event's only generated text; None if there is none or more than one."""
    data = event.get("data")
    if not isinstance(data, dict) or not is_integer(data.get(_NUMBER, 0), 0, 1 << 53):
        return None
    places = [place for place, text in _leaves(data) if place[-1] in TEXTS and isinstance(text, str) and text]
    return places[0] if len(places) == 1 else None


def _leaves(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, (*place, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves(one, (*place, index))
    else:
        yield place, value


def _without(data: Mapping[str, Any], place: tuple[str | int, ...]) -> str:
    """Return the JSON of an event's value without its text, its number and its time."""
    rest = {name: one for name, one in data.items() if name not in (_NUMBER, _TIME)}
    return json.dumps(_with_text(rest, place, ""))


def _with_text(value: Any, place: tuple[str | int, ...], text: str) -> Any:
    """Return a copy of a value with another text at a place."""
    if not place:
        return text
    first, *rest = place
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[first] = _with_text(value[first], tuple(rest), text)
    return copy


def _at(value: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


def _join(run: Sequence[Event]) -> Event:
    if len(run) == 1:
        return run[0]
    place = _text_place(run[0])
    assert place is not None
    texts = [_at(event["data"], place) for event in run]
    return run[0] | {"data": _with_text(run[0]["data"], place, "".join(texts)), "lengths": list(map(len, texts))}


def expand(events: Sequence[Event]) -> Iterator[Event]:
    """Yield the events of a stream, those with `lengths` as one event for each part of their text."""
    for event in events:
        if "lengths" not in event:
            yield event
            continue
        place = _text_place(event)
        assert place is not None  # checked by read_events
        text, begin = _at(event["data"], place), 0
        for index, length in enumerate(event["lengths"]):
            data = _with_text(event["data"], place, text[begin : begin + length])
            if _NUMBER in data:
                data[_NUMBER] += index
            begin += length
            yield {name: one for name, one in event.items() if name != "lengths"} | {"data": data}


def write_events(events: Sequence[Event]) -> Iterator[bytes]:
    """Yield the events of a stream as server-sent events."""
    for event in expand(events):
        head = b"".join(utf8(f"{name}: {event[name]}\n") for name in ("event", "id") if name in event)
        lines = [encode(event["data"])] if "data" in event else utf8(event["text"]).split(b"\n")
        yield head + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


def write_lines(events: Sequence[Event]) -> Iterator[bytes]:
    """Yield the values of a stream as lines of JSON."""
    for event in expand(events):
        yield (encode(event["data"]) if "data" in event else utf8(event["text"])) + b"\n"


def with_data(event: Event, data: Any) -> Event:
    """Return an event with another value, without lengths that no longer hold."""
    changed = event | {"data": data}
    place = _text_place(changed)
    if "lengths" in event and (place is None or len(_at(data, place)) != sum(event["lengths"])):
        del changed["lengths"]
    return changed


def read_events(values: Sequence[Any], where: str) -> list[Event]:
    """Validate stored events.

    Raises
    ------
    ReceiptError
        If they are damaged, or would expand to more than `MOST_BYTES`.
    """
    total = 0
    for index, value in enumerate(values):
        place = f"{where}[{index}]"
        has_data = isinstance(value, dict) and "data" in value
        fields = Fields(value, place, ("data",) if has_data else ("text",), ("event", "id", "lengths"))
        for name in {"event", "id", "text"} & value.keys():
            if set(fields.text(name)) & ({"\r"} if name == "text" else set("\r\n\0")):
                fields.fail(name, "a text without line breaks")
        parts = 1
        if "lengths" in value:
            parts = len(fields.integers("lengths", least=1, shortest=2))
            text_place = _text_place(value)
            if text_place is None or len(_at(value["data"], text_place)) != sum(value["lengths"]):
                fields.fail("lengths", "the lengths of the parts of the event's only text")
        total += parts * len(encode(value["data"])) if parts > 1 else 0
        if total > MOST_BYTES:
            fields.fail("lengths", f"a stream of at most {MOST_BYTES:,} bytes; its first values are {quote(value)}")
    return list(values)
