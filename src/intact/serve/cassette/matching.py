"""Equality of requests: by method, path and body, without identifiers, times and the order of members."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, Final, Literal, NamedTuple, get_args
from urllib.parse import parse_qsl

from intact._base.errors import ParameterError
from intact._base.suggest import did_you_mean
from intact.serve.cassette.content import BodyContent
from intact.serve.exchange import first_difference

Matcher = Literal["method", "host", "path", "query", "headers", "body"]
MATCHERS: Final[tuple[Matcher, ...]] = get_args(Matcher)
DEFAULT: Final[tuple[Matcher, ...]] = ("method", "path", "body")
IDENTIFIERS: Final = frozenset(
    (
        *("call_id", "conversation", "id", "item_id"),
        *("message_id", "response_id", "tool_call_id", "tool_use_id"),
    )
)
"""Members of requests whose values are random names; equal names within a request must still be equal."""
KEPT_HEADERS: Final = frozenset(("anthropic-beta", "anthropic-version", "content-type", "openai-beta"))
"""Headers that a cassette has; all others, such as keys and addresses of redirections, are neither written nor read."""
LABELS: Final = frozenset(("metadata", "prompt_cache_key", "safety_identifier", "user"))
"""Members of a body that label a request, and change no answer."""
TIMES: Final = frozenset(("completed_at", "created", "created_at"))
"""Members of requests that hold times of earlier answers."""
_EARLIER: Final = "previous_response_id"
_FREE: Final = frozenset(("arguments", "input", "input_schema", "metadata", "parameters", "schema"))
"""Members that, as objects, belong to the user: their members may have any name."""
_MOST_COMPARED: Final = 500
"""Maximum number of recorded requests among which the nearest one is searched."""


@dataclass(frozen=True)
class HttpRequest:
    """A request.

    Attributes
    ----------
    method, path, query : str
    host : str
        Scheme, host and port of the endpoint, without credentials.
    headers : mapping
        Those that a cassette keeps.
    content : BodyContent or None
        The body.
    """

    method: str
    path: str
    query: str = ""
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content: BodyContent | None = None


class Difference(NamedTuple):
    """The first place at which two requests differ, with both values in a text for people."""

    place: str
    text: str


def check_matchers(names: Sequence[str]) -> tuple[Matcher, ...]:
    """Return the matchers of these names, each once.

    Raises
    ------
    ParameterError
        If one is unknown, or there is none.
    """
    for name in names:
        if name not in MATCHERS:
            hint = did_you_mean(name, MATCHERS) or f"expected some of {', '.join(MATCHERS)}"
            raise ParameterError(f"requests cannot be matched on {name!r:.40}: {hint}")
    if not names:
        raise ParameterError(f"requests must be matched on something; expected some of {', '.join(MATCHERS)}")
    return tuple(name for name in MATCHERS if name in names)


def comparable(
    request: HttpRequest, matchers: Sequence[Matcher] = DEFAULT, earlier: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the parts of a request that decide whether it equals another, as a JSON object.

    Parameters
    ----------
    earlier : mapping, optional
        Names of earlier answers by their identifiers, for requests that continue a stored answer.
    """
    body = None if request.content is None else request.content.value
    if isinstance(body, Mapping):
        body = {name: value for name, value in body.items() if name not in LABELS}
    parts: dict[Matcher, Any] = {
        "method": request.method,
        "host": request.host,
        "path": request.path,
        "query": sorted(parse_qsl(request.query, keep_blank_values=True)),
        "headers": dict(request.headers),
        "body": _Normalizer(earlier or {}).normalize(body) if "body" in matchers else None,
    }
    return {name: parts[name] for name in MATCHERS if name in matchers}


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the key of the parts of a request: equal requests have equal keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class _Normalizer:
    """Replace identifiers by their order of appearance in a request, and remove times."""

    def __init__(self, earlier: Mapping[str, str]) -> None:
        self._earlier, self._names = earlier, dict[str, str]()

    def normalize(self, value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            if name in _FREE:
                return value
            return {key: self.normalize(value[key], key) for key in sorted(value) if key not in TIMES}
        if isinstance(value, float) and value.is_integer():
            return int(value)  # clients write a temperature of 0 or of 0.0
        if isinstance(value, list):
            return [self.normalize(one) for one in value]
        if isinstance(value, str) and name == _EARLIER:
            return self._earlier.get(value, "an earlier answer")
        if isinstance(value, str) and name in IDENTIFIERS:
            return self._names.setdefault(value, f"identifier {len(self._names) + 1}")
        return value


def nearest(parts: Mapping[str, Any], recorded: Iterable[Mapping[str, Any]]) -> tuple[int, Difference] | None:
    """Return the index of the most similar recorded request, and the first difference from it; None without any.

    Requests to the same path come first, then those with the most equal values, then those whose first difference comes
    latest within its text; among equals the first wins.
    """
    own = dict(_leaves(parts))
    best: tuple[tuple[bool, int, int], int, Difference] | None = None
    for index, other in enumerate(islice(recorded, _MOST_COMPARED)):
        values = dict(_leaves(other))
        equal = sum(place in own and own[place] == value for place, value in values.items())
        difference, common = _first_difference(values, own)
        score = (parts.get("path") == other.get("path"), equal - len(values.keys() ^ own.keys()), common)
        if best is None or score > best[0]:
            best = score, index, difference
    return None if best is None else best[1:]


def _first_difference(recorded: Mapping[str, Any], requested: Mapping[str, Any]) -> tuple[Difference, int]:
    """Return the first difference of two requests' values, and the number of characters before it in its text."""
    places = dict.fromkeys((*recorded, *requested))
    place = next((one for one in places if _differs(one, recorded, requested)), "")
    before, now = (_text(values, place) for values in (recorded, requested))
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before or "", now or "", strict=False)))
    return Difference(place, first_difference(before, now, ("recorded", "requested"))), common


def _differs(place: str, recorded: Mapping[str, Any], requested: Mapping[str, Any]) -> bool:
    return (place in recorded) != (place in requested) or recorded.get(place) != requested.get(place)


def _text(values: Mapping[str, Any], place: str) -> str | None:
    if place not in values:
        return None
    value = values[place]
    return value if isinstance(value, str) else json.dumps(value)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values in a JSON value that are neither objects nor lists, or are empty, with their places."""
    if isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _leaves(one, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and value:
        for index, one in enumerate(value):
            yield from _leaves(one, f"{place}[{index}]")
    else:
        yield place, value
