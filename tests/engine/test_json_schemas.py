"""Schemas as they are imposed: annotations change no mask, bounds may be those of 64 bits, what is lacking is named."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest

from engine.test_constraints import tokenizer_of, walk
from intact._base.errors import ParameterError
from intact.engine.sampling import constraints, grammars
from intact.engine.sampling.constraints import Matcher
from intact.engine.sampling.json_schemas import FORMATS, LARGEST, NEUTRAL, imposable
from intact.engine.sampling.parameters import SamplingParameters
from intact.text.tokenizer import Tokenizer

pytest.importorskip("llguidance")


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return tokenizer_of("bytes")


def start(tokenizer: Tokenizer, schema: dict[str, Any]) -> Matcher:
    made = constraints.compile(tokenizer, tokenizer.size, SamplingParameters(json_schema=schema))
    assert made is not None
    return made


def compiler_error(schema: Any) -> str:
    """Return what llguidance itself says of a schema."""
    made = grammars.matcher(grammars.byte_tokenizer(), "json_schema", json.dumps(schema), grammars.LIMITS)
    return str(made.get_error())


def test_what_is_called_known_or_lacking_is_so_in_this_llguidance() -> None:
    for name in sorted(FORMATS):
        assert compiler_error({"type": "string", "format": name}) == ""
    for name in NEUTRAL:
        assert f'Unimplemented keys: ["{name}"]' in compiler_error({name: {}})
    for bounds in ({"minimum": -LARGEST}, {"maximum": LARGEST}, {"minimum": -LARGEST, "maximum": LARGEST}):
        for kind in ("integer", "number"):
            assert compiler_error({"type": kind, **bounds}) == ""


def test_annotations_change_no_mask(tiny: Tokenizer) -> None:
    plain = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}
    inner = {"type": "string", "maxLength": 9, "format": "isbn", "uniqueItems": False}
    noted = {**plain, "properties": {"a": inner}, "propertyNames": {}, "unevaluatedProperties": True}
    texts = [walk(tiny, start(tiny, schema), np.random.default_rng(3)) for schema in (plain, noted)]
    assert texts[0] == texts[1] is not None


def test_names_and_values_that_look_like_keywords_are_left() -> None:
    schema = {
        "properties": {"format": {"const": {"format": "x"}}, "not": {"enum": [{"uniqueItems": False}]}},
        "default": {"format": "x"},
        "required": ["format"],
    }
    assert imposable(schema, "it") == schema
    assert imposable({"format": "x", "items": [{"format": "y"}, True]}, "it") == {"items": [{}, True]}


INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", **INT64},
        {"type": "integer", "minimum": -(2**63)},
        {"type": ["integer", "null"], "exclusiveMinimum": -1e19},
        {"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308},
        {"type": "number", **INT64},
    ],
    ids=str,
)
def test_bounds_beyond_64_bits_are_accepted_and_kept(tiny: Tokenizer, schema: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        text = walk(tiny, start(tiny, schema), rng)
        if text is not None:
            jsonschema.validate(json.loads(text), schema)


def test_a_largest_integer_stays_what_it_was() -> None:
    schema = {"type": "integer", "maximum": 2**63 - 1}
    assert imposable(schema, "it") == schema


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, "json_schema.properties.a: uniqueItems"),
        ({"items": {"anyOf": [{"not": {"type": "null"}}]}}, "json_schema.items.anyOf[0]: not"),
        ({"$defs": {"x": {"if": {}}}, "items": {"$ref": "#/$defs/x"}}, "json_schema.$defs.x: if"),
        ({"additionalProperties": {"contains": {}}}, "json_schema.additionalProperties: contains"),
    ],
    ids=str,
)
def test_what_the_compiler_lacks_is_refused_by_its_place(tiny: Tokenizer, schema: dict[str, Any], place: str) -> None:
    with pytest.raises(ParameterError, match="cannot be enforced") as raised:
        start(tiny, schema)
    assert str(raised.value).startswith(place)


def test_definitions_that_nothing_uses_are_not_looked_at(tiny: Tokenizer) -> None:
    assert start(tiny, {"$defs": {"x": {"not": {}}}, "type": "string"})
    assert start(tiny, {"$defs": {"x": {"items": {"$ref": "#/$defs/x"}}}, "$ref": "#/$defs/x"})
    assert start(tiny, {"type": "array", "items": {"type": "null"}, "properties": {"a": {"not": {}}}})


def test_a_property_that_contradicts_a_pattern_is_refused_at_the_start(tiny: Tokenizer) -> None:
    both: dict[str, Any] = {
        "properties": {"abc": {"type": "integer"}},
        "patternProperties": {"^a..$": {"type": "string"}},
    }
    for schema, place in ((both, "json_schema"), ({"items": both}, "json_schema.items")):
        with pytest.raises(ParameterError, match="its name matches a pattern") as raised:
            start(tiny, schema)
        assert str(raised.value).startswith(f"{place}.properties.abc: ")
    for other in ({"^b": {"type": "string"}}, {"^a": {"type": "number", "maximum": 5}}):
        schema = {"type": "object", **both, "patternProperties": other, "additionalProperties": False}
        for seed in range(3):
            text = walk(tiny, start(tiny, schema), np.random.default_rng(seed))
            if text is not None:
                jsonschema.validate(json.loads(text), schema)
    never = {"type": "object", "properties": {"abc": False}, "patternProperties": {"^a..$": {"type": "string"}}}
    assert start(tiny, never)


@pytest.mark.parametrize("at", [None, 0, 30, 59])
def test_many_objects_with_patterns_take_few_trials(monkeypatch: pytest.MonkeyPatch, at: int | None) -> None:
    """Each trial takes a worker's time: one where all is well, and else at most two more for each halving."""
    both = {f"a{at}": {"type": "string"}}, {"^a": {"type": "string"}}
    objects = [{"properties": both[0], "patternProperties": both[1] | {f"^b{i}": {}}} for i in range(60)]
    if at is not None:
        objects[at] = {"properties": {"zz": {"type": "integer"}}, "patternProperties": {"^z": {"type": "string"}}}
    schema = {"type": "object", "properties": {f"p{i}": one for i, one in enumerate(objects)}, "required": ["p0"]}
    trials, exceeded = list[Any](), constraints.exceeded_limit
    monkeypatch.setattr(constraints, "exceeded_limit", lambda one: (trials.append(one), exceeded(one))[1])
    if at is None:
        assert constraints.imposed(schema, "it") == schema
        assert constraints._schema_text(json.dumps(schema)) == constraints._schema_text(json.dumps(schema))
        assert len(trials) == 1
    else:
        with pytest.raises(ParameterError, match=rf"^it\.properties\.p{at}\.properties\.zz: its name matches"):
            constraints.imposed(schema, "it")
        assert len(trials) <= 1 + 2 * len(objects).bit_length()


def test_the_innermost_place_that_cannot_be_compiled_is_named() -> None:
    bad = {"type": "string", "pattern": "(?=a)b"}
    schema = {"type": "object", "properties": {"a": {"items": bad}}, "required": ["a"]}
    assert constraints.fault(schema, "it").startswith("it.properties.a.items: in the regex")
    assert constraints.fault({"properties": {"a": {"type": "string"}}}, "it") == ""
