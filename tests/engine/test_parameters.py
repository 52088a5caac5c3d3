"""Sampling parameters: what is refused, and with which words; the same as integers; as JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact._base.strict_json import parse
from intact.engine.sampling.parameters import DEFINITIONS, SamplingFields, SamplingParameters
from intact.numerics.functions import LOG2E
from intact.numerics.sampling import Sampling
from intact.receipts.schema import schema

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, r"max_tokens must be an integer from 1 to 1073741824, got 0"),
    ({"max_tokens": True}, "max_tokens must be an integer"),
    ({"min_tokens": -1}, "min_tokens must be an integer from 0"),
    ({"min_tokens": 5, "max_tokens": 4}, "min_tokens is 5, but max_tokens is only 4"),
    ({"temperature": -0.1}, r"temperature must lie in \[0, 1000\], got -0.1"),
    ({"temperature": math.nan}, "temperature must lie in"),
    ({"temperature": "1"}, "temperature must be a number, a Python int or float, got '1'"),
    ({"temperature": 0.1234567}, "temperature may have at most 6 decimals, got 0.1234567"),
    ({"top_p": 0}, r"top_p must lie in \(0, 1\], got 0"),
    ({"top_p": 1.1}, r"top_p must lie in \(0, 1\], got 1.1"),
    ({"top_k": 1.0}, "top_k must be an integer"),
    ({"min_p": 2}, r"min_p must lie in \[0, 1\], got 2"),
    ({"typical_p": 0.0}, r"typical_p must lie in \(0, 1\]"),
    ({"repetition_penalty": 0}, r"repetition_penalty must lie in \(0, 100\]"),
    ({"presence_penalty": 2.5}, r"presence_penalty must lie in \[-2, 2\]"),
    ({"frequency_penalty": -3}, r"frequency_penalty must lie in \[-2, 2\]"),
    ({"temperature": 10**5000}, r"temperature must lie in \[0, 1000\], got int that is too long to write"),
    ({"seed": 10**5000}, "seed must be an integer from .* got int that is too long to write"),
    ({"logit_bias": (1, 2)}, "logit_bias must map token ids to numbers, got 1 instead of a pair"),
    ({"logit_bias": ((1, 2, 3),)}, r"logit_bias must map token ids to numbers, got \(1, 2, 3\) instead of a pair"),
    ({"logit_bias": {10**5000: 1}}, "got the token int that is too long to write"),
    ({"logit_bias": {4: 10**5000}}, "logit_bias of token 4 must lie in .* got int that is too long to write"),
    ({"logit_bias": [1]}, "logit_bias must map token ids to numbers"),
    ({"logit_bias": {"a": 1}}, "got the token 'a'"),
    ({"logit_bias": {-1: 1}}, "got the token -1"),
    ({"logit_bias": {4: 101}}, r"logit_bias of token 4 must lie in \[-100, 100\], got 101"),
    ({"logit_bias": {4: math.inf}}, "logit_bias of token 4 must lie in"),
    ({"logit_bias": {4: None}}, "logit_bias of token 4 must be a number"),
    ({"temperature": np.float32(0.5)}, r"temperature must be a number, a Python int or float, got .*0\.5"),
    ({"top_p": True}, "top_p must be a number, .* got True"),
    ({"seed": np.bool_(True)}, "seed must be an integer"),
    ({"seed": 1 << 64}, "seed must be an integer"),
    ({"stop": ["a", ""]}, r"stop\[1\] is empty"),
    ({"stop": 3}, "stop must be a string or a list of strings"),
    ({"stop": ["a", "b\udfff"]}, r"stop\[1\] contains the lone surrogate U\+DFFF"),
    ({"ignore_eos": 1}, "ignore_eos must be True or False, got 1"),
    ({"stop_mean_below": 0.5}, r"stop_mean_below must lie in \[-100, 0\], got 0.5"),
    ({"stop_mean_below": -1, "stop_window": 0}, "stop_window must be an integer from 1 to"),
    ({"stop_window": 8}, "stop_window is 8, but it has no effect without stop_mean_below"),
    ({"top_logprobs": 21}, "top_logprobs must be an integer from 0 to 20, got 21"),
    ({"json_schema": "{"}, "json_schema is not valid JSON"),
    ({"json_schema": "[]"}, "json_schema must be a JSON object"),
    ({"json_schema": {"a": {1, 2}}}, "json_schema is not valid JSON"),
    ({"regex": ""}, "regex must be a non-empty string"),
    ({"grammar": 3}, "grammar must be a non-empty string"),
    ({"json_schema": {"const": "\ud800"}}, r"json_schema contains the lone surrogate U\+D800"),
    ({"json_schema": '{"const": "\\udfff"}'}, r"json_schema contains the lone surrogate U\+DFFF"),
    ({"regex": "a\ud800"}, r"regex contains the lone surrogate U\+D800"),
    ({"grammar": 'start: "\ud800"'}, r"grammar contains the lone surrogate U\+D800"),
    ({"regex": "a", "grammar": "start: A"}, "regex and grammar are given, but a text can have only one constraint"),
    ({"regex": "a", "ignore_eos": True}, "ignore_eos contradicts regex"),
]


@pytest.mark.parametrize(("given_", "message"), REFUSED)
def test_impossible_values_are_refused(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SamplingParameters(**given_)


def test_values_are_taken_as_the_decimals_that_they_show() -> None:
    parameters = SamplingParameters(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05, typical_p=0.9)
    assert parameters.sampling == Sampling(round(Fraction(LOG2E * 10, 7)), 40, 950_000, 50_000, 900_000)
    assert SamplingParameters().sampling == Sampling()
    assert SamplingParameters(temperature=1) == SamplingParameters(temperature=1.0)
    assert math.copysign(1, SamplingParameters(presence_penalty=-0.0).presence_penalty) == 1


def test_greedy_takes_filters_too() -> None:
    assert SamplingParameters(temperature=0, top_p=0.9).sampling == Sampling(top_p=900_000)


def test_values_are_normalized() -> None:
    assert SamplingParameters(stop="a").stop == ("a",)
    assert SamplingParameters(stop=["a", "b", "a"]).stop == ("a", "b")  # type: ignore[arg-type]
    biased = SamplingParameters(logit_bias={7: 1, 3: -math.inf})
    assert biased.logit_bias == ((3, -math.inf), (7, 1.0))
    assert SamplingParameters(json_schema={"b": 1, "a": 2}).json_schema == '{"b":1,"a":2}'
    assert hash(biased) == hash(SamplingParameters(logit_bias={3: -math.inf, 7: 1.0}))


def test_integers_and_floats_of_numpy_are_those_of_python() -> None:
    given_ = {"seed": np.int64(3), "max_tokens": np.uint8(9), "temperature": np.float64(0.5), "top_p": np.int8(1)}
    made = SamplingParameters(**given_, logit_bias={np.int32(7): np.int64(2)})  # type: ignore[arg-type]
    plain = SamplingParameters(seed=3, max_tokens=9, temperature=0.5, logit_bias={7: 2})
    assert made == plain
    assert made.to_json() == plain.to_json()


def test_constraints_name_their_kind() -> None:
    assert SamplingParameters().constraint is None
    assert SamplingParameters(regex="a+").constraint == ("regex", "a+")
    assert SamplingParameters(json_schema='{"type": "null"}').constraint == ("json_schema", '{"type":"null"}')
    assert SamplingParameters(grammar='start: "a"').constraint == ("grammar", 'start: "a"')


def test_tokens_are_checked_against_a_vocabulary() -> None:
    parameters = SamplingParameters(logit_bias={1: 1.0, 10: 2.0})
    parameters.check_tokens(11)
    with pytest.raises(ParameterError, match="logit_bias names token 10; this model's tokens are 0 to 9"):
        parameters.check_tokens(10)


DECIMAL = st.integers(0, 10**6).map(lambda x: x / 10**6)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "max_tokens": st.integers(50, 99),
            "min_tokens": st.integers(0, 50),
            "temperature": DECIMAL,
            "top_k": st.integers(0, 9),
            "repetition_penalty": st.integers(10**6, 2 * 10**6).map(lambda x: x / 10**6),
            "logit_bias": st.dictionaries(st.integers(0, 99), DECIMAL | st.just(-math.inf)),
            "stop": st.lists(st.text(min_size=1)),
            "ignore_eos": st.booleans(),
            "seed": st.integers(-5, 5),
        },
    )
)
def test_json_gives_the_same_back(given_: dict[str, Any]) -> None:
    parameters = SamplingParameters(**given_)
    text = parameters.to_json()
    assert SamplingParameters.from_json(text) == parameters
    assert SamplingParameters.from_json(text).to_json() == text
    parse(text, "the text")  # which holds no infinities


def test_json_holds_what_differs_from_the_defaults() -> None:
    parameters = SamplingParameters(top_p=0.5, logit_bias={10: -math.inf, 9: 1}, max_tokens=128)
    assert parameters.to_json() == '{"logit_bias":{"10":"-inf","9":1.0},"top_p":0.5}'
    assert SamplingParameters().to_json() == "{}"
    schema = {"type": "object", "properties": {"z": {}, "a": {}}}
    again = SamplingParameters.from_json(SamplingParameters(json_schema=schema).to_json())
    assert json.loads(str(again.json_schema)) == schema


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be a JSON object"),
        ("3", "must be a JSON object"),
        ('{"tpo_p":1}', "'tpo_p' is not a sampling parameter"),
        ('{"top_p":7}', "top_p must lie in"),
        ("[" * 200_000, "must be a JSON object: maximum recursion depth"),
        ('{"logit_bias":{"1":1,"01":2}}', "got the token '01'"),
        ('{"logit_bias":{"%s":1}}' % ("9" * 5000), "got the token '99999"),
        ('{"seed":%s}' % ("9" * 5000), "must be a JSON object: Exceeds the limit"),
    ],
)
def test_json_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SamplingParameters.from_json(text)


def test_the_arguments_by_name_are_the_fields():
    assert list(SamplingFields.__annotations__) == [field.name for field in fields(SamplingParameters)]


def test_the_table_of_the_documents_is_that_of_the_definitions():
    page = (Path(__file__).parents[2] / "docs/sampling.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [definition.row(name) for name, definition in DEFINITIONS.items()]


def test_the_schema_of_receipts_has_the_ranges_of_the_definitions():
    published = json.loads(files("intact.receipts").joinpath("receipt.schema.json").read_bytes())
    assert schema() == published
