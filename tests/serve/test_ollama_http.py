"""Ollama's interface, as its clients use it over HTTP: the texts are those of OpenAI's interface."""

import asyncio
import hashlib
import json
import threading
import time
from pathlib import Path

import httpx
import jsonschema
import pytest

from intact.checkpoints import catalogue, download
from intact.serve.apis.ollama.description import Digests, describe
from serve.test_tools import OPENS, PARAMETERS, TEMPLATE, TIME, WEATHER
from support.folders import write_folder
from support.patience import PATIENCE
from support.serving import running
from support.tiny import tokenizer_metadata, write_tiny
from support.variants import VARIANTS

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}]
SAMPLED = {"temperature": 0.9, "seed": 5, "top_k": 40, "top_p": 0.95, "min_p": 0.01, "presence_penalty": 0.5}
OPTIONS = SAMPLED | {"num_predict": 16, "repeat_penalty": 1.1, "stop": ["zz"], "num_ctx": 4096, "num_thread": 1}
FIELDS = SAMPLED | {"max_tokens": 16, "repetition_penalty": 1.1, "stop": ["zz"]}
THINKS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% elif enable_thinking is defined %}<think>\n{% endif %}"
)
ALWAYS = "{% for message in messages %}{{ message.content }}{% endfor %}<think>"


@pytest.fixture(scope="module")
def server(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ollama")
    own = tokenizer_metadata(OPENS) | {"tokenizer.chat_template": TEMPLATE}
    own["tokenizer.ggml.tokens"].append("<tool_call>")
    own["tokenizer.ggml.token_type"].append(4)
    tools = write_tiny(folder / "tools.gguf", "qwen3", context=1024, vocabulary=OPENS + 1, metadata=own)
    paths = {"tiny": tiny_path, "tools": tools}
    for name, template in (("thinks", THINKS), ("always", ALWAYS)):
        more = {"tokenizer.chat_template": template}
        paths[name] = write_tiny(folder / f"{name}.gguf", "qwen3", context=1024, metadata=more)
    with running(paths, max_tokens=512) as there:
        yield there
        there.settle(there.idle)


@pytest.fixture
def send(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:

        def post(path, body, status=200):
            answer = client.post(path, json=body)
            assert answer.status_code == status, answer.text
            return answer.json() if body.get("stream") is False or status != 200 else lines(answer)

        yield post


def lines(answer):
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def openai_chat(server, model="tiny", **more):
    answer = httpx.post(f"{server.url}/v1/chat/completions", json={"model": model, **more}, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()


def text_of(found):
    return "".join(line["message"]["content"] for line in found)


def test_a_conversation_is_answered_as_by_openais_interface(server, send):
    wanted = openai_chat(server, messages=TURNS, **FIELDS)
    body = {"model": "tiny", "messages": TURNS, "options": OPTIONS}
    whole = send("/api/chat", body | {"stream": False})
    assert whole["message"] == {"role": "assistant", "content": wanted["choices"][0]["message"]["content"]}
    assert whole["done"] is True
    assert whole["done_reason"] == wanted["choices"][0]["finish_reason"]
    assert whole["prompt_eval_count"] == wanted["usage"]["prompt_tokens"]
    assert whole["eval_count"] == wanted["usage"]["completion_tokens"]
    assert whole["intact"] == {name: wanted[name] for name in ("system_fingerprint", "seed")}
    *parts, last = send("/api/chat", body)  # a stream by default
    assert len(parts) > 5
    assert not any(line["done"] for line in parts)
    assert text_of(parts) == whole["message"]["content"]
    assert last["message"] == {"role": "assistant", "content": ""}
    same = ("done", "done_reason", "prompt_eval_count", "eval_count", "intact")
    assert {name: last[name] for name in same} == {name: whole[name] for name in same}
    for answer in (whole, last):
        spans = [answer[f"{name}_duration"] for name in ("load", "prompt_eval", "eval")]
        assert all(isinstance(span, int) and span >= 0 for span in spans)
        assert sum(spans) == answer["total_duration"] > 0


def test_a_request_without_options_has_the_defaults_of_openais_interface(server, send):
    wanted = openai_chat(server, messages=TURNS)
    whole = send("/api/chat", {"model": "tiny:latest", "messages": TURNS, "stream": False, "keep_alive": "5m"})
    assert whole["message"]["content"] == wanted["choices"][0]["message"]["content"]
    assert whole["model"] == "tiny:latest"


OWN_DEFAULTS = {"num_keep": 4, "seed": -1, "num_predict": -1, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0}
OWN_DEFAULTS |= {"repeat_last_n": 64, "temperature": 0.8, "repeat_penalty": 1.1, "presence_penalty": 0.0, "stop": []}
OWN_DEFAULTS |= {"frequency_penalty": 0.0, "mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "tfs_z": 1.0}
OWN_DEFAULTS |= {"penalize_newline": True, "numa": False, "num_ctx": 2048, "num_batch": 512, "num_gpu": -1}
OWN_DEFAULTS |= {"main_gpu": 0, "low_vram": False, "vocab_only": False, "use_mmap": True, "use_mlock": False}
OWN_DEFAULTS |= {"num_thread": 0, "embedding_only": False}
"""All options at Ollama's own defaults (api/types.go)."""


def test_the_defaults_of_ollama_itself_are_taken_together(server, tiny_path):
    body = {"model": "tiny", "messages": TURNS, "options": OWN_DEFAULTS, "stream": False}
    same = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.1, "seed": -1}
    wanted = openai_chat(server, messages=TURNS, **same)["choices"][0]["message"]["content"]
    answer = httpx.post(server.url + "/api/chat", json=body, timeout=PATIENCE)
    assert answer.json()["message"]["content"] == wanted
    assert answer.headers["intact-warning"].startswith("options.repeat_last_n 64 is read as -1")
    with running({"tiny": tiny_path}, strict=True) as strict:
        refused = httpx.post(strict.url + "/api/chat", json=body, timeout=PATIENCE)
        assert refused.json()["error"].startswith("options.repeat_last_n: penalties always count all tokens")


def test_a_last_message_that_is_empty_changes_nothing(send):
    body = {"model": "tiny", "options": {"num_predict": 4}, "stream": False}
    wanted = send("/api/chat", body | {"messages": TURNS})
    empty = {"role": "assistant", "content": ""}
    assert send("/api/chat", body | {"messages": [*TURNS, empty]})["message"] == wanted["message"]
    begun = send("/api/chat", body | {"messages": [*TURNS, empty | {"content": "It"}]})
    assert begun["prompt_eval_count"] != wanted["prompt_eval_count"]


def test_a_question_is_a_conversation_of_one_turn(server, send):
    wanted = openai_chat(server, messages=TURNS, **FIELDS)["choices"][0]["message"]["content"]
    body = {"model": "tiny", "system": "Be brief.", "prompt": TURNS[1]["content"], "options": OPTIONS}
    assert send("/api/generate", body | {"stream": False, "context": [], "suffix": ""})["response"] == wanted
    found = send("/api/generate", body)
    assert "".join(line["response"] for line in found) == wanted
    assert found[-1]["done_reason"] == "length"


def test_a_raw_prompt_is_continued_as_by_openais_interface(server, send):
    body = {"model": "tiny", "prompt": "The sky is", "options": OPTIONS, "raw": True}
    fields = FIELDS | {"model": "tiny", "prompt": "The sky is"}
    wanted = httpx.post(f"{server.url}/v1/completions", json=fields, timeout=PATIENCE).json()["choices"][0]["text"]
    assert send("/api/generate", body | {"stream": False})["response"] == wanted
    assert "".join(line["response"] for line in send("/api/generate", body)) == wanted
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": False}
    formed = send("/api/generate", body | {"format": schema, "options": {"num_predict": 300}, "stream": False})
    jsonschema.validate(json.loads(formed["response"]), schema)
    long = send("/api/generate", {"model": "tiny", "prompt": "The", "raw": True, "options": {"ignore_eos": True}})
    assert long[-1]["eval_count"] == 512  # the server's limit


def test_log_probabilities_are_those_of_openais_interface(server, send):
    wanted = openai_chat(server, messages=TURNS, logprobs=True, top_logprobs=2, **FIELDS)
    body = {"model": "tiny", "messages": TURNS, "options": OPTIONS, "logprobs": True, "top_logprobs": 2}
    whole = send("/api/chat", body | {"stream": False})
    assert whole["logprobs"] == wanted["choices"][0]["logprobs"]["content"]
    found = send("/api/chat", body)
    assert [entry for line in found for entry in line.get("logprobs", [])] == whole["logprobs"]
    raw = {"model": "tiny", "prompt": "The", "raw": True, "options": {"num_predict": 3}, "stream": False}
    assert len(send("/api/generate", raw | {"logprobs": True})["logprobs"]) == 3


def test_formats_are_constraints(server, send):
    body = {"model": "tiny", "messages": TURNS, "options": {"num_predict": 400}, "stream": False}
    schema = {"type": "json_schema", "json_schema": {"schema": PARAMETERS}}
    wanted = openai_chat(server, messages=TURNS, max_tokens=400, response_format=schema)
    text = send("/api/chat", body | {"format": PARAMETERS})["message"]["content"]
    assert text == wanted["choices"][0]["message"]["content"]
    jsonschema.validate(json.loads(text), PARAMETERS)
    found = send("/api/chat", body | {"format": "json"})
    wanted = openai_chat(server, messages=TURNS, max_tokens=400, response_format={"type": "json_object"})
    assert found["message"]["content"] == wanted["choices"][0]["message"]["content"]
    assert send("/api/chat", body | {"format": ""})["message"]["content"] != found["message"]["content"]


def test_calls_of_tools_have_objects_as_arguments(server, send):
    turns = [{"role": "user", "content": "Weather?"}]
    own = {"regex": r'Well\. <tool_call>\{"name": "weather", "arguments": \{"city": "Rome", "days": 3\}\}</tool_call>'}
    tools = [WEATHER, TIME]
    body = {"model": "tools", "messages": turns, "tools": tools, "options": {"num_predict": 200}, "intact": own}
    wanted = openai_chat(server, "tools", messages=turns, tools=tools, max_tokens=200, intact=own)["choices"][0]
    whole = send("/api/chat", body | {"stream": False})
    (call,) = whole["message"]["tool_calls"]
    assert call["function"] == {"index": 0, "name": "weather", "arguments": {"city": "Rome", "days": 3}}
    (theirs,) = wanted["message"]["tool_calls"]
    assert json.loads(theirs["function"]["arguments"]) == call["function"]["arguments"]
    assert whole["message"]["content"] == wanted["message"]["content"] == "Well."
    assert whole["done_reason"] == "stop"
    found = send("/api/chat", body)
    (streamed,) = [call for line in found for call in line["message"].get("tool_calls", [])]
    assert streamed["function"] == call["function"]
    assert text_of(found) == "Well."


def test_calls_and_their_answers_go_back(server, send):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    plain = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "sunny"},
    ]
    wanted = openai_chat(server, "tools", messages=plain, tools=[WEATHER], max_tokens=8)
    turns = [
        {"role": "user", "content": "Weather?", "images": []},
        {
            "role": "assistant",
            "content": "",
            "thinking": None,
            "tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Rome"}}}],
        },
        {"role": "tool", "tool_name": "weather", "tool_call_id": "call_1", "content": "sunny"},
    ]
    body = {"model": "tools", "messages": turns, "tools": [WEATHER], "options": {"num_predict": 8}, "stream": False}
    whole = send("/api/chat", body)
    assert whole["message"]["content"] == wanted["choices"][0]["message"]["content"]
    assert whole["prompt_eval_count"] == wanted["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("model", "text", "thinking", "content"),
    [
        ("thinks", "so it is </think>\n\nblue", "so it is", "blue"),  # the prompt ends with the opening mark
        ("always", "so it is</think>blue", "so it is", "blue"),
        ("thinks", "so it is not at an end", "so it is not at an end", ""),
    ],
)
def test_thoughts_are_apart_where_the_template_can_think(server, send, model, text, thinking, content):
    own = {"regex": text.replace(".", r"\.")}
    body = {"model": model, "messages": TURNS, "think": True, "intact": own, "options": {"num_predict": 200}}
    whole = send("/api/chat", body | {"stream": False})["message"]
    assert (whole.get("thinking", ""), whole["content"]) == (thinking, content)
    found = send("/api/chat", body)
    assert "".join(line["message"].get("thinking", "") for line in found) == thinking
    assert text_of(found) == content
    asked = {"model": model, "prompt": "Why?", "think": True, "intact": own, "stream": False}
    answer = send("/api/generate", asked | {"options": {"num_predict": 200}})
    assert (answer.get("thinking", ""), answer["response"]) == (thinking, content)


def test_thinking_is_a_variable_of_the_template(server, send):
    for think in (True, False):
        wanted = openai_chat(
            server, "thinks", messages=TURNS, max_tokens=8, chat_template_kwargs={"enable_thinking": think}
        )
        body = {"model": "thinks", "messages": TURNS, "think": think, "options": {"num_predict": 8}, "stream": False}
        whole = send("/api/chat", body)
        assert whole["prompt_eval_count"] == wanted["usage"]["prompt_tokens"]
        message = whole["message"]
        text, field = (message["thinking"], "reasoning_content") if think else (message["content"], "content")
        assert text == wanted["choices"][0]["message"][field]
    plain = openai_chat(server, "thinks", messages=TURNS, max_tokens=8)
    body = {"model": "thinks", "messages": TURNS, "options": {"num_predict": 8}, "stream": False}
    assert send("/api/chat", body)["message"]["content"] == plain["choices"][0]["message"]["content"]
    body = {"model": "tiny", "messages": TURNS, "think": False, "options": {"num_predict": 1}, "stream": False}
    assert send("/api/chat", body)["done"]  # as a model that cannot think does


def test_a_suffix_of_the_name_is_a_method(server, send):
    fields = {"temperature": 1, "max_tokens": 12}
    wanted = openai_chat(server, "tiny:best-of-n-2", messages=TURNS, **fields, intact={"receipt": True})
    options, own = {"temperature": 1, "num_predict": 12}, {"receipt": True}
    body = {"model": "tiny:best-of-n-2", "messages": TURNS, "options": options, "intact": own}
    whole = send("/api/chat", body | {"stream": False})
    (choice,) = wanted["choices"]
    assert whole["message"]["content"] == choice["message"]["content"]
    assert whole["intact"]["cost"] == wanted["intact"]["cost"]
    assert whole["intact"]["receipt"] == choice["receipt"]
    assert text_of(send("/api/chat", body)) == choice["message"]["content"]


def test_an_answer_has_a_receipt_that_is_true(server, send):
    body = {"model": "tiny", "messages": TURNS, "options": OPTIONS, "intact": {"receipt": True}}
    whole, found = send("/api/chat", body | {"stream": False}), send("/api/chat", body)
    assert whole["intact"] == found[-1]["intact"]
    wanted = openai_chat(server, messages=TURNS, intact={"receipt": True}, **FIELDS)
    assert whole["intact"]["receipt"] == wanted["choices"][0]["receipt"]
    raw = {"model": "tiny", "prompt": "The sky", "raw": True, "options": OPTIONS, "intact": {"receipt": True}}
    for receipt in (whole["intact"]["receipt"], send("/api/generate", raw)[-1]["intact"]["receipt"]):
        verdict = httpx.post(f"{server.url}/v1/verify", json={"receipt": receipt}, timeout=PATIENCE).json()
        assert verdict["outcome"] == "true"


def test_a_request_without_a_text_has_the_model_loaded(server, send):
    for path, body in (("/api/generate", {}), ("/api/chat", {"messages": []}), ("/api/generate", {"prompt": ""})):
        answer = httpx.post(
            server.url + path, json={"model": "tiny", "keep_alive": -1, **body}, timeout=PATIENCE
        ).json()
        assert (answer["done"], answer["done_reason"]) == (True, "load")
    assert "tiny" in [model["name"] for model in httpx.get(server.url + "/api/ps").json()["models"]]


def test_a_body_needs_no_content_type_and_nothing_is_as_good_as_null(server):
    body = {"model": "tiny", "messages": TURNS, "options": None, "format": None, "tools": None, "think": None}
    body |= {"template": None, "stream": False} | {"options": {"num_predict": 2, "mirostat": 0, "tfs_z": 1}}
    headers = {"content-type": "application/x-www-form-urlencoded"}  # curl's
    answer = httpx.post(server.url + "/api/chat", content=json.dumps(body), headers=headers, timeout=PATIENCE)
    assert answer.json()["eval_count"] == 2
    assert httpx.post(server.url + "/api/chat", content=json.dumps(body | {"options": None}), timeout=PATIENCE).json()[
        "done"
    ]


@pytest.mark.parametrize(
    ("path", "more", "status", "words"),
    [
        ("chat", {"model": "other"}, 404, "model 'other' not found; available: tiny"),
        ("chat", {"options": {"top_p": 1.5}}, 400, "top_p must lie in (0, 1], got 1.5"),
        ("chat", {"options": {"repeat_penalty": -1}}, 400, "repeat_penalty must lie in"),
        ("chat", {"options": {"repeat_penalty": 2, "repetition_penalty": 2}}, 400, "mean the same"),
        ("chat", {"options": {"repeat_penalty": 2, "repeat_last_n": 33}}, 400, "options.repeat_last_n"),
        ("chat", {"options": {"num_predict": 513}}, 400, "num_predict must be an integer from 1 to 512"),
        ("chat", {"options": {"mirostat": 2}}, 400, "options.mirostat is not supported; leave it out, or give 0"),
        ("chat", {"options": {"temprature": 1}}, 400, "unknown field: options.temprature"),
        ("chat", {"options": {"seed": "x"}}, 400, "options.seed"),
        ("chat", {"truncate": True}, 400, "truncate is not supported"),
        ("chat", {"colour": 1}, 400, "unknown field: colour"),
        ("chat", {"think": True}, 400, '"tiny" does not support thinking'),
        ("chat", {"think": "low"}, 400, "think value 'low' is not supported for this model"),
        ("chat", {"model": "always", "think": False}, 400, "always thinks"),
        ("chat", {"model": "thinks", "think": True, "format": "json"}, 400, "think cannot be combined with format"),
        ("chat", {"model": "tiny:best-of-n-2", "think": True}, 400, "think cannot be combined with a reasoning method"),
        ("chat", {"model": "tiny:best-of-n-2", "format": "json"}, 400, "format cannot be combined"),
        ("chat", {"format": {"type": "what"}}, 400, "the format "),
        ("generate", {"prompt": "x", "raw": True, "format": {"type": "what"}}, 400, "the format "),
        ("chat", {"format": "yaml"}, 400, "format"),
        ("chat", {"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, 400, "messages[0].images"),
        ("chat", {"messages": [{"role": "king", "content": "x"}]}, 400, "messages[0].role"),
        ("chat", {"top_logprobs": 2}, 400, "top_logprobs needs logprobs"),
        ("chat", {"intact": {"progress": True}}, 400, "intact.progress has no effect"),
        ("chat", {"intact": {"method": "none"}}, 400, "no method named"),
        ("generate", {"prompt": "x", "suffix": "y"}, 400, "tiny cannot fill in text before a suffix"),
        ("generate", {"prompt": "x", "template": "y"}, 400, "template is not supported"),
        ("generate", {"prompt": "x", "context": [1]}, 400, "context is not supported: send the conversation"),
        ("generate", {"prompt": "x", "images": ["aGk="]}, 400, "images"),
        ("generate", {"prompt": "x", "raw": True, "system": "y"}, 400, "system has no effect with raw"),
        ("generate", {"prompt": "x", "raw": True, "think": True}, 400, "think has no effect with raw"),
        ("generate", {"prompt": "x", "raw": True, "top_logprobs": 1}, 400, "top_logprobs needs logprobs"),
        ("generate", {"prompt": "x", "raw": True, "model": "tiny:best-of-n-2"}, 400, "raw cannot be combined"),
        ("generate", {"prompt": "x", "raw": True, "intact": {"now": "2026-01-01"}}, 400, "has no effect with raw"),
        ("generate", {"prompt": "x", "raw": True, "options": {"num_predict": 513}}, 400, "num_predict must be"),
        ("generate", {"prompt": "x" * 2000}, 400, "the prompt has"),
        ("embed", {"input": "x"}, 400, "does not support embeddings"),
        ("embeddings", {"prompt": "x"}, 400, "does not support embeddings"),
        ("embed", {"model": "other"}, 404, "not found"),
        ("generate", {"keep_alive": 0, "stream": False}, 400, "keep_alive has no effect: models stay loaded"),
        ("pull", {"model": "x" * 1_000_000}, 404, "is not a model of the catalogue; available: smollm2"),
        ("show", {"model": "other"}, 404, "not found"),
        ("show", {"model": ""}, 400, "model is missing"),
        ("pull", {"model": "other"}, 404, "is not a model of the catalogue"),
        ("create", {}, 403, "cannot change the models"),
        ("nothing", {}, 404, "not found"),
    ],
    ids=str,
)
def test_errors_are_one_line_as_ollamas(server, send, path, more, status, words):
    body = {"model": "tiny"} | ({"messages": TURNS} if path == "chat" else {}) | more
    for stream in (True, False) if path in ("chat", "generate") else (None,):
        answer = send(f"/api/{path}", body | ({} if stream is None else {"stream": stream}), status)
        assert answer.keys() == {"error"}
        assert words in answer["error"]


def test_an_error_after_the_first_token_is_the_last_line(server, send):
    body = {"model": "tiny", "messages": TURNS, "options": {"ignore_eos": True}, "intact": {"deadline": 0.05}}
    for _ in range(20):
        answer = httpx.post(server.url + "/api/chat", json=body, timeout=PATIENCE)
        if answer.status_code == 200 and "error" in answer.text:
            break
        body["intact"]["deadline"] *= 1 if "error" in answer.text and answer.status_code == 200 else 1.3
    else:
        pytest.skip("no deadline fell between the first token and the last")
    *parts, last = lines(answer)
    assert parts
    assert last == {"error": "the request exceeded the time limit"}


def test_refusals_before_an_endpoint_have_ollamas_form_too(tiny_path):
    with running({"tiny": tiny_path}, keys=("0123456789abcdef",)) as server:
        refused = httpx.get(server.url + "/api/tags")
        assert (refused.status_code, refused.json()) == (
            401,
            {"error": "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY"},
        )
        headers = {"authorization": "Bearer 0123456789abcdef"}
        assert httpx.get(server.url + "/api/tags", headers=headers).status_code == 200
        foreign = httpx.post(server.url + "/api/chat", json={}, headers=headers | {"origin": "http://other"})
        assert (foreign.status_code, foreign.json().keys()) == (403, {"error"})


def test_limits_are_those_of_the_whole_server(tiny_path):
    long = {"model": "tiny", "messages": TURNS, "stream": True, "n": 32, "max_tokens": 900, "ignore_eos": True}
    body = {"model": "tiny", "messages": TURNS, "options": {"ignore_eos": True, "num_predict": 900}}
    with running({"tiny": tiny_path}, running=32, waiting=0) as server:
        server.settle(lambda: server.service.models.served["tiny"].model)
        with httpx.stream("POST", server.url + "/v1/chat/completions", json=long, timeout=PATIENCE) as first:
            begun = first.iter_lines()  # held, as the response is closed with it
            next(begun)
            refused = httpx.post(server.url + "/api/chat", json=body, timeout=PATIENCE)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert "are already waiting" in refused.json()["error"]
        server.settle(server.idle)
        with httpx.stream("POST", server.url + "/api/chat", json=body, timeout=PATIENCE) as second:
            begun = second.iter_lines()
            next(begun)
        server.settle(server.idle)  # the client left midway


def test_models_are_listed_and_described_without_being_loaded(tiny_path, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    more = {"tokenizer.chat_template": TEMPLATE, "general.file_type": 15}
    other = write_tiny(tmp_path / "other.gguf", "qwen3", context=512, metadata=more)
    with running({"tiny": tiny_path, "other": other, "broken": broken}) as server:
        server.settle(lambda: server.service.models.served["tiny"].model)
        listed = {model["name"]: model for model in httpx.get(server.url + "/api/tags").json()["models"]}
        assert list(listed) == ["tiny", "other", "broken"]
        assert listed["broken"]["details"] == {}
        tiny = listed["tiny"]
        assert tiny["model"] == "tiny"
        assert tiny["digest"] == hashlib.sha256(Path(tiny_path).read_bytes()).hexdigest()
        assert tiny["size"] == Path(tiny_path).stat().st_size
        details = {"format": "gguf", "family": "qwen3", "families": ["qwen3"], "quantization_level": "BF16"}
        assert {name: tiny["details"][name] for name in details} == details
        shown = httpx.post(server.url + "/api/show", json={"name": "other:latest", "verbose": True}).json()
        assert shown["template"] == TEMPLATE
        assert shown["details"]["quantization_level"] == "Q4_K_M"
        assert shown["capabilities"] == ["completion", "tools"]
        assert shown["model_info"]["qwen3.context_length"] == 512
        assert "tokenizer.ggml.tokens" not in shown["model_info"]
        failed = httpx.post(server.url + "/api/show", json={"model": "broken"})
        assert failed.status_code == 400
        assert "broken.gguf" in failed.json()["error"]
        (loaded,) = httpx.get(server.url + "/api/ps").json()["models"]
        assert (loaded["name"], loaded["context_length"], loaded["size_vram"]) == ("tiny", 1024, 0)
        version = httpx.get(server.url + "/api/version").json()["version"]
        assert tuple(map(int, version.split("."))) >= (0, 6, 4)
        assert httpx.head(server.url).status_code == 200
        broken.unlink()
        listed = {model["name"]: model for model in httpx.get(server.url + "/api/tags").json()["models"]}
        assert listed["tiny"] == tiny
        assert (listed["broken"]["size"], listed["broken"]["digest"]) == (0, "")


def test_a_folder_is_described_like_a_file(tmp_path):
    folder = write_folder(tmp_path / "folder", VARIANTS["llama"], "llama")
    found = describe(folder)
    assert found.details["format"] == "safetensors"
    assert found.details["family"] == found.info["general.architecture"] == "llama"
    assert found.info["llama.embedding_length"] == 64
    assert found.capabilities == ("completion",)
    assert found.template == ""

    async def digest():
        digests = Digests()
        both = await asyncio.gather(digests.find(folder), digests.find(folder))
        assert len(digests._tasks) == 1
        return both

    one, same = asyncio.run(digest())
    assert one == same
    (folder / "config.json").write_text("{}")
    assert asyncio.run(digest())[0] != one


@pytest.fixture
def small_catalogue(tiny_path, tmp_path, monkeypatch):
    """A catalogue of one small model, and how often it was fetched."""
    content = Path(tiny_path).read_bytes()
    sha = hashlib.sha256(content).hexdigest()
    entry = catalogue.Entry("little", "little.gguf", len(content), "none", (catalogue.Hub("a/b", "c"),), sha)
    fetched = []

    def fetch(source, entry, folder, report):
        fetched.append(source)
        partial = folder / ".little.partial"
        for done in range(0, len(content) + 1, 65536):
            report("fetch", done, len(content))
        partial.write_bytes(content)
        return partial, sha

    monkeypatch.setenv("INTACT_HOME", str(tmp_path))
    monkeypatch.setitem(catalogue.CATALOGUE, "little", entry)
    monkeypatch.setattr(download.entry, "fetch_from_hub", fetch)
    return fetched


def test_a_model_of_the_catalogue_is_pulled_and_served(server, send, small_catalogue):
    *progress, last = send("/api/pull", {"model": "little:latest"})
    assert last == {"status": "success"}
    assert progress[0] == {"status": "pulling manifest"}
    assert all(line["digest"].startswith("sha256:") for line in progress[1:])
    answer = send("/api/generate", {"model": "little", "prompt": "Hi", "options": {"num_predict": 3}, "stream": False})
    assert answer["eval_count"] == 3
    assert send("/api/pull", {"model": "little", "stream": False}) == {"status": "success"}
    assert len(small_catalogue) == 1
    assert "little" in [model["name"] for model in httpx.get(server.url + "/api/tags").json()["models"]]


def test_other_machines_cannot_have_models_pulled(tiny_path, small_catalogue):
    with running({"tiny": tiny_path}, host="0.0.0.0", no_auth=True) as server:
        refused = httpx.post(server.url + "/api/pull", json={"model": "little"})
        assert (refused.status_code, refused.json().keys()) == (403, {"error"})
        assert "intact pull little" in refused.json()["error"]
        assert httpx.post(server.url + "/api/pull", json={"model": "tiny", "stream": False}).json() == {
            "status": "success"
        }
    assert not small_catalogue


def test_a_pull_that_fails_says_why(server, send, small_catalogue, monkeypatch):
    def fail(*_):
        raise download.DownloadError("no network")

    monkeypatch.setattr(download.entry, "fetch_from_hub", fail)
    server.service.models.served.pop("little", None)
    Path(catalogue.store() / "little.gguf").unlink(missing_ok=True)
    answer = httpx.post(server.url + "/api/pull", json={"model": "little", "stream": False}, timeout=PATIENCE)
    assert answer.status_code == 502
    assert "no network" in answer.json()["error"]
    assert "no network" in lines(httpx.post(server.url + "/api/pull", json={"model": "little"}))[-1]["error"]


def test_a_client_that_leaves_ends_its_pull(server, small_catalogue, monkeypatch):
    server.service.models.served.pop("little", None)
    ended = threading.Event()

    def endless(source, entry, folder, report):
        try:
            while True:
                report("fetch", 1, 2)
                time.sleep(0.01)
        finally:
            ended.set()

    monkeypatch.setattr(download.entry, "fetch_from_hub", endless)
    with httpx.stream("POST", server.url + "/api/pull", json={"model": "little"}, timeout=PATIENCE) as answer:
        begun = answer.iter_lines()
        assert next(line for line in begun if "completed" in line)  # a thread is at it
    assert ended.wait(PATIENCE)
    server.settle(lambda: not server.service.pulls._running)
    assert "little" not in server.service.models.served
