"""Comparison of answers: the parts that count, and how two embeddings differ."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.matching import HttpRequest, comparable
from intact.serve.exchange import generated_texts, reply_values

_TOKENS: Final = ("completion_tokens", "output_tokens", "eval_count")
_COUNTED: Final = frozenset(("usage", "system_fingerprint"))
"""Members of answers without a generated text that may differ although the answer is the same."""


def answer_texts(content: BodyContent) -> dict[str, str]:
    """Return what counts in an answer, by place: texts, tool calls and stop reasons, or else all its values.

    Answers without a generated text are embeddings, scores and lists; of these identifiers, times and counts of tokens
    are left out.
    """
    found = generated_texts(content.data())
    if found:
        return found
    if content.kind != "json":
        return {"body": content.data().decode(errors="replace")}
    value = content.value
    if isinstance(value, Mapping):
        value = {name: one for name, one in value.items() if name not in _COUNTED and not name.endswith("_duration")}
    parts = comparable(HttpRequest("", "", content=BodyContent("json", value)), ("body",))
    return dict(_values(parts["body"]))


def _values(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a JSON value as texts, lists of numbers as one text."""
    is_vector = isinstance(value, list) and all(isinstance(one, int | float) for one in value)
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _values(one, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and not is_vector:
        for index, one in enumerate(value):
            yield from _values(one, f"{place}[{index}]")
    else:
        yield place, value if isinstance(value, str) else json.dumps(value)


def vector_difference(before: str | None, now: str | None) -> str:
    """Describe how an embedding changed: its largest difference, and the cosine; empty if these are no embeddings."""
    first, second = _vector(before), _vector(now)
    if first is None or second is None or len(first) != len(second):
        return ""
    largest = max(abs(a - b) for a, b in zip(first, second, strict=True))
    norms = math.hypot(*first) * math.hypot(*second)
    cosine = sum(a * b for a, b in zip(first, second, strict=True)) / norms if norms else math.nan
    return f"  {len(first)} numbers that differ by at most {largest:.3g}; cosine {cosine:.9f}"


def _vector(text: str | None) -> list[float] | None:
    """Return the numbers of an embedding, as JSON or as base64 of little-endian float32; None if it is neither."""
    if text is None:
        return None
    if text.startswith("["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        is_finite = [isinstance(one, int | float) and math.isfinite(one) for one in value]
        return value if value and all(is_finite) else None
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    if len(data) % 4 or len(data) < 64:
        return None
    numbers = list(struct.unpack(f"<{len(data) // 4}f", data))
    return numbers if all(map(math.isfinite, numbers)) else None


def generated_tokens(content: BodyContent) -> int:
    """Return the number of generated tokens that an answer states; 0 if it states none."""
    return max((count for value in reply_values(content.data()) for count in _counts(value)), default=0)


def _counts(value: Any) -> Iterator[int]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            if name in _TOKENS and isinstance(one, int):
                yield one
            elif isinstance(one, Mapping):
                yield from _counts(one)
