"""A request and its answer as locks and cassettes compare them: without identifiers, times, and stream chunking."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_WORDS: Final = frozenset(
    (
        *("arguments", "content", "finish_reason", "input", "name", "partial_json"),
        *("reasoning_content", "response", "stop_reason", "text", "thinking"),
    )
)
"""Members of replies, in any API, that contain generated text or a finish reason."""
_IDS: Final = frozenset(("id", "call_id", "tool_call_id", "tool_use_id"))
_ARGUMENTS: Final = frozenset(("arguments", "input"))
"""Members that contain a tool's arguments; in some APIs these are objects, whose members are the tool's own."""
_EXCERPT = 200
_BOUNDARY: Final = re.compile(rb"--[^\s]{1,70}\r?\n")
"""The first line of a multipart body."""


class Exchange:
    """A request and its answer, without parts that may differ between runs: identifiers, times, and stream chunking.

    Attributes
    ----------
    digest : str
        SHA-256 of the request's path and body.
    answer : dict
        The generated text, by position in the reply: the pieces in a stream's events are joined.
    """

    def __init__(self, path: str, request: bytes, reply: bytes, names: dict[str, str]) -> None:
        body = _renamed(_parse(with_fixed_boundary(request)), names)
        self.path = path
        self.digest = hashlib.sha256(f"{path}\n{json.dumps(body, sort_keys=True)}".encode()).hexdigest()
        messages = body.get("messages") if isinstance(body, Mapping) else None
        last = messages[-1] if isinstance(messages, list) and messages else body
        self.excerpt = json.dumps(last, ensure_ascii=False)[-_EXCERPT:]
        self.answer = generated_texts(reply)
        own: dict[str, str] = {}  # names by the request, since replies may come in any order
        for event in reply_values(reply):
            for name in _ids(event):
                own.setdefault(name, f"id {len(own)} of the reply to {self.digest[:12]}")
        names.update(own | names)

    def to_dict(self) -> dict[str, Any]:
        """Return the exchange as a JSON object for the lock."""
        return {"path": self.path, "request": self.digest, "asked": self.excerpt, "answer": self.answer}


def generated_texts(reply: bytes) -> dict[str, str]:
    """Return the generated text and the stop reasons of a reply, by place; texts of a stream's events are joined."""
    found: dict[str, str] = {}
    for value in reply_values(reply):
        for place, text in _texts(value):
            found[place] = found.get(place, "") + text
    return found


def first_difference(before: str | None, now: str | None, labels: tuple[str, str] = ("locked", "now")) -> str:
    """Show two texts from the first character that differs, with a little of what precedes it.

    Parameters
    ----------
    before, now : str or None
        None if there is no text at this place.
    labels : (str, str)
        Names of the two texts.
    """
    width = max(map(len, labels)) + 1
    first, second = (f"  {label + ':':{width}} " for label in labels)
    if before is None or now is None:
        return f"{first}{_excerpt(before)}\n{second}{_excerpt(now)}"
    shorter = min(len(before), len(now))
    at = next((i for i in range(shorter) if before[i] != now[i]), shorter)
    begin = max(0, at - 40)
    return f"  from character {at} on\n{first}{before[begin : at + 80]!r}\n{second}{now[begin : at + 80]!r}"


def _excerpt(text: str | None) -> str:
    return "nothing" if text is None else repr(text[:_EXCERPT])


def with_fixed_boundary(request: bytes) -> bytes:
    """Return a multipart body with a fixed boundary, since clients choose a random one each time."""
    found = _BOUNDARY.match(request)
    if found is None or not request.rstrip().endswith(found[0].rstrip() + b"--"):
        return request
    return request.replace(found[0].rstrip(), b"--boundary")


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode(errors="replace")


def reply_values(reply: bytes) -> Iterator[Any]:
    """Yield the JSON values of a reply: a single one, one per line, or one per event."""
    try:
        yield json.loads(reply)
    except ValueError:
        for line in reply.decode(errors="replace").split("\n"):  # splitlines would cut texts at U+2028 and the like
            value = _parse(line.removeprefix("data:").strip().encode())
            if not isinstance(value, str):
                yield value


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Replace identifiers of earlier replies in a request with names that are the same in every run."""
    if isinstance(value, Mapping):
        return {key: _renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key in _IDS and isinstance(one, str):
                yield one
            elif key not in _ARGUMENTS:
                yield from _ids(one)
    elif isinstance(value, list):
        for one in value:
            yield from _ids(one)


def _texts(value: Any, place: str = "", key: str = "") -> Iterator[tuple[str, str]]:
    """Yield generated strings with their positions; a list item that states its index is positioned by it."""
    if isinstance(value, Mapping):
        if key in _ARGUMENTS:
            yield place, json.dumps(value, sort_keys=True)
            return
        index = value.get("index")
        inner = f"{place}[{index}]" if isinstance(index, int) else place
        for name, one in value.items():
            yield from _texts(one, f"{inner}.{name}".lstrip("."), name)
    elif isinstance(value, list):
        for i, one in enumerate(value):
            own = isinstance(one, Mapping) and isinstance(one.get("index"), int)
            yield from _texts(one, place if own else f"{place}[{i}]", key)
    elif key in _WORDS and isinstance(value, str):
        yield place, value
