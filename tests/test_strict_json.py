"""The depth to which JSON is read is one number: it depends on no version of Python and on no caller."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from intact._base.errors import IntactError
from intact._base.strict_json import MOST_DEPTH, is_too_deep, parse
from intact.engine.sampling.parameters import SamplingParameters
from intact.receipts import canonical
from intact.serve.errors import ApiError
from intact.serve.forms import parse_json
from intact.text.tool_calls import read_json

READERS: dict[str, Callable[[str], Any]] = {
    "strict": lambda text: parse(text, "it"),
    "receipt": lambda text: canonical.read(text.encode(), "it"),
    "canonical": lambda text: canonical.encode(json.loads(text)),
    "body": lambda text: parse_json(text.encode()),
    "tool call": read_json,
    "schema": lambda text: SamplingParameters(json_schema=text),
}


def nested(depth: int, form: str) -> str:
    """Return a text of so many objects, each the member of another; or of lists in an object."""
    if form == "objects":
        return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def from_a_depth(frames: int, read: Callable[[str], Any], text: str) -> Any:
    """Read with so many callers."""
    return from_a_depth(frames - 1, read, text) if frames else read(text)


@pytest.mark.parametrize("form", ["objects", "lists"])
@pytest.mark.parametrize("frames", [0, 400])
@pytest.mark.parametrize("name", READERS)
def test_the_limit_is_the_same_for_every_caller(name: str, frames: int, form: str) -> None:
    from_a_depth(frames, READERS[name], nested(MOST_DEPTH, form))
    for deeper in (MOST_DEPTH + 1, 900, 5000):
        if name == "canonical" and deeper > 900:
            continue  # the test itself could not read that everywhere
        with pytest.raises((IntactError, ApiError, ValueError), match="nested too deeply"):
            from_a_depth(0 if name == "canonical" else frames, READERS[name], nested(deeper, form))


def test_what_lies_side_by_side_is_not_deep() -> None:
    value = [[[]] * 1000] * 100
    assert not is_too_deep(value, json.dumps(value))


def test_a_number_beyond_doubles_is_refused() -> None:
    for text in ("1e999", "-1e999", "[1.5, 1e400]"):
        with pytest.raises(IntactError, match=r"contains the number -?1e[0-9]+; expected finite numbers"):
            parse(text, "it")
    assert parse("[1e308, 1e-999]", "it") == [1e308, 0.0]
