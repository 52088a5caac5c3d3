"""What clients send is read in bounded time: what is wrong is told once, however often it is wrong."""

import json

import httpx
import pytest

from intact.serve.apis.openai.responses import ResponsesRequest
from intact.serve.apis.tokens import DetokenizeRequest
from intact.serve.errors import ApiError
from intact.serve.forms import LONG, VALUES, parse_json, validate
from intact.serve.requests import ChatRequest, CompletionRequest

MANY = 50_000
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("form", "body", "param"),
    [
        (CompletionRequest, {"model": "tiny", "prompt": [{}] * MANY}, "prompt[0]"),
        (CompletionRequest, {"model": "tiny", "prompt": ["a", *[1] * MANY]}, "prompt[1]"),
        (CompletionRequest, {"model": "tiny", "prompt": [1, *["a"] * MANY]}, "prompt[1]"),
        (CompletionRequest, {"model": "tiny", "prompt": [[1, *["a"] * MANY]] * 3}, "prompt[0][1]"),
        (DetokenizeRequest, {"tokens": ["a"] * MANY}, "tokens[0]"),
        (ChatRequest, {**CHAT, "messages": [1] * MANY}, "messages[0]"),
        (ChatRequest, {**CHAT, "messages": CHAT["messages"] * MANY}, "messages"),
        (ChatRequest, {**CHAT, "messages": [{"role": "user", "content": [1] * MANY}]}, "messages[0].content[0]"),
        (
            ChatRequest,
            {**CHAT, "messages": [{"role": "assistant", "tool_calls": [1] * MANY}]},
            "messages[0].tool_calls[0]",
        ),
        (ChatRequest, {**CHAT, "tools": [1] * MANY}, "tools[0]"),
        (ChatRequest, {**CHAT, "modalities": [1] * MANY}, "modalities[0]"),
        (ChatRequest, {**CHAT, "stop": [1] * MANY}, "stop"),
        (ChatRequest, {**CHAT, "temperature": [1] * MANY}, "temperature"),
        (ChatRequest, {**CHAT, "logit_bias": {str(i): "a" for i in range(MANY)}}, "logit_bias"),
        (ChatRequest, {**CHAT, "intact": {"parameters": {str(i): [] for i in range(MANY)}}}, "intact.parameters"),
        (ChatRequest, {**CHAT, **{f"a{i}": 1 for i in range(MANY)}}, "a0"),
        (ResponsesRequest, {"model": "tiny", "input": [1] * MANY}, "input[0]"),
        (
            ResponsesRequest,
            {"model": "tiny", "input": "Hi", "tool_choice": {str(i): 1 for i in range(MANY)}},
            "tool_choice",
        ),
        (ResponsesRequest, {"model": "tiny", "input": "Hi", "include": [1] * MANY}, "include[0]"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, str) else "",
)
def test_what_is_wrong_often_is_told_once(form, body, param):
    with pytest.raises(ApiError) as raised:
        validate(form, parse_json(json.dumps(body).encode()))
    assert raised.value.param == param
    assert len(raised.value.message) < 300
    assert raised.value.__cause__.error_count() <= 20


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the body must be a JSON object, got an array"),
        (None, "the body must be a JSON object, got null"),
        ("Hi", 'the body must be a JSON object, got "Hi"'),
        (CHAT | {"messages": [1]}, "messages[0] must be a JSON object, got 1"),
        (CHAT | {"intact": [1]}, "intact must be a JSON object, got an array"),
        (CHAT | {"chat_template_kwargs": True}, "chat_template_kwargs must be a JSON object, got true"),
    ],
    ids=str,
)
def test_what_is_no_object_is_told_in_the_words_of_json(server, body, message):
    sent = {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
    answer = httpx.post(server.url + "/v1/chat/completions", **sent)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


@pytest.mark.parametrize(
    ("form", "more", "message"),
    [
        (ChatRequest, {"model": None}, "model is missing"),
        (ChatRequest, {"messages": None}, "messages is missing"),
        (ChatRequest, {"messages": []}, "messages: list should have at least 1 item, got a list of 0"),
        (ChatRequest, {"stop": ["a"] * 20}, "stop: list should have at most 16 items, got a list of 20"),
        (ChatRequest, {"stop": 5}, "stop: input should be a valid string or a valid list, got 5"),
        (ChatRequest, {"stop": ["a", None]}, "stop[1]: input should be a valid string, got null"),
        (ChatRequest, {"seed": True}, "seed: input should be a valid integer, got true"),
        (ChatRequest, {"temprature": 1}, "unknown field: temprature; did you mean temperature?"),
        (ChatRequest, {"intact": {"reciept": True}}, "unknown field: intact.reciept; did you mean receipt?"),
        (ChatRequest, {"colour": "red"}, "unknown field: colour"),
        (
            ChatRequest,
            {"tool_choice": "x"},
            "tool_choice: input should be 'none', 'auto' or 'required' or a JSON object, got 'x'",
        ),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, str) else "",
)
def test_a_message_says_what_would_be_right_in_the_words_of_json(form, more, message):
    with pytest.raises(ApiError) as raised:
        validate(form, CHAT | more)
    assert raised.value.message == message


def test_values_are_counted_before_they_are_made():
    at_most = b"[" + b",".join([b"1"] * (VALUES - 1)) + b"]"
    assert len(parse_json(at_most)) == VALUES - 1
    text = json.dumps(['[{,\\"' * VALUES, '"'])  # what stands in a string is no value
    assert len(parse_json(text.encode())) == 2
    for bomb in (b"[1,", b"{},", b'{"a":1},', b"[[]],"):
        with pytest.raises(ApiError, match="values") as raised:
            parse_json(b"[" + bomb * VALUES + b"1" + b"]" * 2)
        assert raised.value.status == 413


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a": tru}', "is not JSON: Expecting value at character 6"),
        (b'{"a": "\xff"}', "is not valid UTF-8 at byte 7"),
        (b'{"a": ' + b"[" * 90_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 9_000 + b"}", "too many digits"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_json_is_told_where(server, text, told):
    for body in (text, text + b" " * LONG):  # on the event loop, and beside it
        answer = httpx.post(server.url + "/v1/completions", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert told in answer.json()["error"]["message"]


def test_a_long_body_is_as_good_as_a_short_one(server):
    body = {**CHAT, "max_tokens": 2}
    short = httpx.post(server.url + "/v1/chat/completions", json=body).json()
    long = httpx.post(server.url + "/v1/chat/completions", json={**body, "user": "a" * LONG}).json()
    assert long["choices"] == short["choices"]
    refused = httpx.post(server.url + "/v1/chat/completions", json={**body, "usr": "a" * LONG})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "usr")
