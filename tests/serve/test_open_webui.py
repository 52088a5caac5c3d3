"""Open WebUI's requests, in the shapes that its public code sends them, and its way of reading what comes.

Its server asks for the list of models, streams chats, and asks for titles, tags and the like, not streamed; with a
direct connection the browser does, from Open WebUI's own origin. It shows `error.message` of what is refused.
"""

import json

import httpx
import pytest

from support.patience import PATIENCE
from support.serving import running

KEY = "sk-open-webui-0123456789"
ORIGIN = "http://localhost:3000"
HEADERS = {
    "Authorization": f"Bearer {KEY}",
    "Content-Type": "application/json",
    "X-OpenWebUI-User-Name": "Zo%C3%AB",
    "X-OpenWebUI-User-Id": "b0b6f0b8-0000-4000-8000-000000000000",
    "X-OpenWebUI-User-Role": "user",
}
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": '<details type="reasoning" done="true">hm</details>\nHello.'},
    {"role": "user", "content": "Why is the sky blue?"},
]
CHAT = {"stream": True, "model": "tiny", "messages": TURNS, "stream_options": {"include_usage": True}}
ADVANCED = {
    "temperature": 0.8,
    "top_p": 0.9,
    "min_p": 0.01,
    "max_tokens": 24,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "seed": 42,
    "stop": ["\n\n", "User:"],
    "logit_bias": {"5": -100, "41": 3},
}


@pytest.fixture(scope="module")
def there(tiny_path):
    with running({"tiny": tiny_path, "small": tiny_path}, keys=(KEY,), origins=(ORIGIN,)) as server:
        yield server
        server.settle(server.idle)


def post(server, body, **headers):
    return httpx.post(server.url + "/v1/chat/completions", json=body, headers={**HEADERS, **headers}, timeout=PATIENCE)


def read(lines):
    """A stream as Open WebUI reads it: line by line, the text of the deltas put together."""
    text, usage, finish, done = "", None, None, False
    for line in lines:
        if not line.startswith("data:"):
            assert line == ""
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            done = True
            continue
        chunk = json.loads(data)
        usage = chunk.get("usage") or usage
        if chunk["choices"]:
            text += chunk["choices"][0]["delta"].get("content") or ""
            finish = chunk["choices"][0].get("finish_reason") or finish
    assert done
    return text, usage, finish


def streamed(server, body):
    with httpx.stream(
        "POST", server.url + "/v1/chat/completions", json=body, headers=HEADERS, timeout=PATIENCE
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        return read(answer.iter_lines())


def test_the_connection_is_verified_and_its_models_are_listed(there):
    listed = httpx.get(there.url + "/v1/models", headers=HEADERS).json()
    assert [model["id"] for model in listed["data"]] == ["tiny", "small"]
    assert {model["object"] for model in listed["data"]} == {"model"}
    refused = httpx.get(there.url + "/v1/models", headers={"Authorization": "Bearer wrong"})
    assert refused.status_code == 401
    assert refused.json()["error"]["message"]


def test_a_chat_with_advanced_parameters(there):
    text, usage, finish = streamed(there, CHAT | ADVANCED)
    whole = post(there, CHAT | ADVANCED | {"stream": False, "stream_options": None}).json()
    assert text == whole["choices"][0]["message"]["content"]
    assert finish == whole["choices"][0]["finish_reason"]
    assert usage == whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] <= usage["prompt_tokens"] + 24


def test_a_message_in_parts(there):
    turns = [{"role": "user", "content": [{"type": "text", "text": "Why is the sky blue?"}]}]
    plain = [{"role": "user", "content": "Why is the sky blue?"}]
    texts = [streamed(there, CHAT | {"messages": each, "max_tokens": 9})[0] for each in (turns, plain)]
    assert texts[0] == texts[1]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    refused = post(there, CHAT | {"messages": [{"role": "user", "content": [*turns[0]["content"], picture]}]})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "messages[0].content[1]"


@pytest.mark.parametrize("limit", [{"max_completion_tokens": 1000}, {"max_tokens": 50}, {}])
def test_titles_tags_and_follow_ups(there, limit):
    task = '### Task:\nGenerate a concise title.\n### Output:\nJSON format: { "title": "..." }\n<chat_history>\n'
    body = {"model": "tiny", "messages": [{"role": "user", "content": task + "USER: Hi\n</chat_history>"}]}
    answer = post(there, body | {"stream": False} | limit)
    assert answer.status_code == 200, answer.text
    assert isinstance(answer.json()["choices"][0]["message"]["content"], str)


def test_the_stop_button_frees_what_was_taken(there):
    body = CHAT | {"max_tokens": 900}
    with httpx.stream(
        "POST", there.url + "/v1/chat/completions", json=body, headers=HEADERS, timeout=PATIENCE
    ) as answer:
        next(answer.iter_lines())
    there.settle(there.idle)


def test_a_method_by_a_model_id_and_by_a_custom_parameter(there):
    body = CHAT | {"max_tokens": 8, "messages": [{"role": "user", "content": "What is 2 + 2?"}], "seed": 1}
    by_name, usage, finish = streamed(there, body | {"model": "tiny:self-consistency-3"})
    by_parameter, *_ = streamed(there, body | {"intact": {"method": "self_consistency", "n": 3}})
    assert by_name == by_parameter
    assert usage["completion_tokens"] > 8
    assert finish == "length", "no text came to an answer in 8 tokens"


def test_native_function_calling_with_a_template_without_tools(there):
    tool = {"type": "function", "function": {"name": "search", "description": "", "parameters": {"type": "object"}}}
    body = CHAT | {"tools": [tool], "max_tokens": 8}
    text, usage, _ = streamed(there, body)
    whole = post(there, body | {"stream": False, "stream_options": None}).json()
    assert whole["choices"][0]["message"]["content"] == text
    assert usage["prompt_tokens"] > streamed(there, CHAT | {"max_tokens": 8})[1]["prompt_tokens"]


def test_a_direct_connection_from_the_browser(there):
    for path, method in (("/v1/models", "GET"), ("/v1/chat/completions", "POST")):
        asked = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        allowed = httpx.options(there.url + path, headers=asked)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "authorization" in allowed.headers["access-control-allow-headers"]
    answer = post(there, CHAT | {"max_tokens": 5}, Origin=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert read(answer.text.splitlines())[1]["completion_tokens"] <= 5
    assert post(there, CHAT, Origin="http://localhost:9999").status_code == 403


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reasoning_strength": "high"}, "unknown field: reasoning_strength"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, "context"),
        ({"model": "gone"}, "no model named"),
    ],
)
def test_what_is_refused_has_a_message_to_show(there, change, said):
    answer = post(there, CHAT | change)
    assert 400 <= answer.status_code < 500
    assert said in answer.json()["error"]["message"]
