"""Fields of other servers: harmless ones are passed over with a warning, other spellings are read, `strict` refuses."""

import json

import httpx
import pytest

from intact._base.errors import IntactError
from intact.serve.errors import ApiError
from intact.serve.leniency import IGNORED
from intact.serve.requests import ChatRequest, CompletionRequest
from support.patience import PATIENCE
from support.serving import running

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "seed": 3}
TEXT = {"model": "tiny", "prompt": "Hi", "max_tokens": 8, "seed": 3}
SCHEMA = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
EXTRA = [
    {"reasoning_effort": "high"},
    {"keep_alive": "5m", "cache_prompt": True},
    {"store": True, "verbosity": "low"},
    {"best_of": 1, "top_k": -1},
    {"stop": ""},
    {"stop": ["", "never written"]},
    {"repeat_penalty": 1.0},
    {"client_metadata": {"turn_id": "01a2"}},
    {"stream_options": {"continuous_usage_stats": True}},
    {"length_penalty": 1, "use_beam_search": False, "skip_special_tokens": True},
]


@pytest.fixture(scope="module")
def strict(tiny_path):
    with running({"tiny": tiny_path}, strict=True) as there:
        yield there


def post(server, body):
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    return httpx.post(server.url + path, json=body, timeout=PATIENCE)


def text(answer):
    assert answer.status_code == 200, answer.text
    choice = answer.json()["choices"][0]
    return choice["message"]["content"] if "message" in choice else choice["text"]


def test_harmless_fields_change_nothing_but_a_header(server):
    for body in (CHAT, TEXT):
        plain = post(server, body)
        assert "intact-warning" not in plain.headers
        for extra in EXTRA:
            answer = post(server, body | extra)
            assert text(answer) == text(plain), extra
            named = answer.headers.get("intact-warning", "")
            if body is CHAT:
                assert all(name in named for name in extra), extra


def test_a_stream_has_the_header_too(server):
    with httpx.stream(
        "POST", server.url + "/v1/chat/completions", json=CHAT | {"stream": True, "keep_alive": -1}, timeout=PATIENCE
    ) as answer:
        assert answer.headers["intact-warning"] == "keep_alive is ignored"
        assert answer.read().endswith(b"data: [DONE]\n\n")


def test_responses_too(server):
    body = {"model": "tiny", "input": "Hi", "max_output_tokens": 4, "temperature": 0}
    plain, extra = (
        httpx.post(server.url + "/v1/responses", json=body | more, timeout=PATIENCE)
        for more in ({}, {"store": True, "reasoning": {"effort": "low"}, "top_logprobs": None})
    )
    assert extra.json()["output"][0]["content"] == plain.json()["output"][0]["content"]
    assert extra.headers["intact-warning"] == "reasoning is ignored"  # `store` has an effect here


def test_no_limit(server):
    whole = post(server, CHAT | {"max_tokens": -1, "ignore_eos": False, "stop": ["a", "e", "i"]})
    absent = post(server, {**CHAT, "max_tokens": None, "stop": ["a", "e", "i"]})
    assert text(whole) == text(absent)
    assert "max_tokens -1" in whole.headers["intact-warning"]
    longer = post(server, TEXT | {"max_tokens": -1, "stop": ["a", "e", "i"]})
    assert len(text(longer)) >= len(text(post(server, TEXT | {"max_tokens": 2, "stop": ["a", "e", "i"]})))


def test_a_limit_above_the_server_s_is_the_server_s(server, strict):
    ends = {"stop": ["a", "e", "i"]}
    for body in (CHAT | ends, TEXT | ends):
        most, more = post(server, body | {"max_tokens": 8192}), post(server, body | {"max_tokens": 32_000})
        assert text(more) == text(most)
        assert more.headers["intact-warning"] == ("max_tokens 32000 is read as 8192, the most that this server allows")
        assert post(strict, body | {"max_tokens": 32_000}).json()["error"]["param"] == "max_tokens"


def test_tools_that_openai_would_run_are_passed_over(server, strict):
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    body = {"model": "tiny", "input": "Hi", "max_output_tokens": 4, "temperature": 0, "tools": [function]}
    hosted = [{"type": "web_search"}, {"type": "namespace", "name": "agents", "tools": [function]}]

    def ask(server, tools):
        return httpx.post(server.url + "/v1/responses", json=body | {"tools": tools}, timeout=PATIENCE)

    plain, more = ask(server, [function]), ask(server, [hosted[0], function, hosted[1]])
    assert more.status_code == 200, more.text
    assert more.json()["usage"] == plain.json()["usage"]
    assert more.json()["tools"] == [function]
    assert more.headers["intact-warning"] == "tools of the type namespace, web_search are ignored"
    assert ask(server, hosted).json()["usage"]["input_tokens"] < plain.json()["usage"]["input_tokens"]
    assert ask(server, [5]).json()["error"]["param"] == "tools[0]"
    assert ask(strict, [hosted[0], function]).json()["error"]["param"] == "tools[0].type"


def test_another_spelling_of_a_penalty(server):
    own = post(server, TEXT | {"repetition_penalty": 1.5})
    other = post(server, TEXT | {"repeat_penalty": 1.5})
    assert text(own) == text(other)
    assert other.headers["intact-warning"] == "repeat_penalty is read as repetition_penalty"
    both = post(server, TEXT | {"repeat_penalty": 1.5, "repetition_penalty": 1.2})
    assert both.json()["error"]["param"] == "repeat_penalty"


@pytest.mark.parametrize("extra", EXTRA, ids=str)
def test_strict_refuses_them(strict, extra):
    assert post(strict, CHAT | extra).status_code == 400


@pytest.mark.parametrize(
    "extra", [{"best_of": 2}, {"n_probs": 5}, {"skip_special_tokens": False}, {"mirostat": 2}, {"what": 1}], ids=str
)
def test_what_would_have_an_effect_is_refused(server, extra):
    answer = post(server, CHAT | extra)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in extra


def test_a_field_with_a_value_that_is_not_supported_says_which_is(server, strict):
    error = post(server, CHAT | {"skip_special_tokens": False}).json()["error"]
    assert error["message"] == "skip_special_tokens is not supported; leave it out, or give true"
    assert post(strict, CHAT | {"skip_special_tokens": False}).json()["error"]["code"] == "unknown_field"


def test_the_verbosity_of_responses_is_passed_over(server, strict):
    def ask(server, text):
        body = {"model": "tiny", "input": "Hi", "max_output_tokens": 4, "temperature": 0, "text": text}
        return httpx.post(server.url + "/v1/responses", json=body, timeout=PATIENCE)

    plain, low = (
        ask(server, {"format": {"type": "text"}}),
        ask(server, {"format": {"type": "text"}, "verbosity": "low"}),
    )
    assert low.json()["output"][0]["content"] == plain.json()["output"][0]["content"]
    assert low.headers["intact-warning"] == "text.verbosity is ignored"
    assert ask(server, {"verbosity": "loud"}).json()["error"]["param"] == "text.verbosity"
    assert ask(strict, {"verbosity": "low"}).json()["error"]["param"] == "text.verbosity"


@pytest.mark.parametrize("body", [CHAT | {"max_tokens": 30}, TEXT | {"max_tokens": 30}], ids=["chat", "text"])
def test_constraints_of_vllm(server, body):
    def read(**fields):
        return text(post(server, body | fields))

    assert json.loads(read(guided_json=SCHEMA)) in ({"n": 1}, {"n": 2})
    assert read(guided_json=json.dumps(SCHEMA)) == read(structured_outputs={"json": SCHEMA}) == read(guided_json=SCHEMA)
    assert read(guided_choice=["red", 'a "b"']) in ("red", 'a "b"')
    assert read(structured_outputs={"choice": ["red"], "regex": None}) == "red"
    assert read(guided_regex="[a-c]{3}") == read(intact={"regex": "[a-c]{3}"})
    assert read(guided_grammar='start: "x" "y"?') in ("x", "xy")


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": [1]}, "guided_json"),
        ({"guided_json": '{"not":' * 200 + "{}" + "}" * 200}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["a", 1]}, "guided_choice"),
        ({"guided_regex": 5}, "guided_regex"),
        ({"structured_outputs": 5}, "structured_outputs"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"guided_regex": "a", "guided_choice": ["b"]}, "guided_regex"),
        ({"guided_regex": "a", "intact": {"regex": "a"}}, "guided_regex"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
    ],
    ids=str,
)
def test_constraints_that_cannot_be(extra, param):
    with pytest.raises(ApiError) as raised:
        ChatRequest.adapted(CHAT | extra, 100)
    assert raised.value.param == param
    assert not isinstance(raised.value, IntactError)


def test_bodies_that_are_no_objects_and_the_body_itself_stay(server):
    assert ChatRequest.adapted([1], 100) == ([1], [])
    body = CHAT | {"stop": "", "store": True}
    kept = json.dumps(body)
    assert ChatRequest.adapted(body, 100)[1]
    assert json.dumps(body) == kept
    assert CompletionRequest.adapted(TEXT | {"max_tokens": -1}, 100)[0]["max_tokens"] == 100
    assert "messages" not in IGNORED
