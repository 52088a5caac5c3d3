"""The log: models that are loaded and unloaded, refusals with code and field; a broken first model holds nobody up."""

import json
import logging

import httpx
import pytest

from intact.serve.logs import TextFormatter
from intact.serve.models import Loading
from serve.test_command import CHAT, command
from support.patience import PATIENCE
from support.serving import running
from support.tiny import write_tiny


@pytest.fixture
def records():
    """What the server's loggers note during a test."""
    found, handler = [], logging.Handler()
    handler.emit = found.append
    logger = logging.getLogger("intact.serve")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(level)


def events(records):
    return [record.args for record in records if isinstance(record.args, dict) and "event" in record.args]


def test_models_are_noted_as_they_come_and_go(tiny_path, tmp_path, records):
    other = write_tiny(tmp_path / "other.gguf", "llama", context=64)
    both = {"tiny": tiny_path, "other": other}
    cache = 1 << 20
    most = int(1.2 * max(path.stat().st_size for path in both.values())) + cache  # one of them
    with running(both, Loading(threads=1, cache_bytes=cache), memory_bytes=most) as server:
        for name in ("tiny", "other"):
            body = {"model": name, "prompt": "x", "max_tokens": 1}
            assert httpx.post(server.url + "/v1/completions", json=body, timeout=PATIENCE).status_code == 200
        weights = server.service.models.served["other"].loaded.executor.description["weight_bytes"]
    loaded, gone, second, last = events(records)
    assert (loaded["event"], loaded["model"], loaded["context"]) == ("loaded", "tiny", 1024)
    assert gone == {"event": "unloaded", "model": "tiny", "why": "other needs its memory"}
    assert (second["event"], second["model"], second["context"], second["bytes"]) == ("loaded", "other", 64, weights)
    assert 0 < second["seconds"] < PATIENCE
    assert second["tier"]
    assert last == {"event": "unloaded", "model": "other", "why": "the server is shutting down"}
    (line,) = [TextFormatter("%(message)s").format(record) for record in records if record.args is second]
    assert line.startswith(f"loaded other in {second['seconds']} s: {weights} bytes of weights, tier ")


def test_an_idle_model_s_end_is_noted(tiny_path, records):
    with running({"tiny": tiny_path}, unload_seconds=0.1) as server:
        (one,) = server.service.models.served.values()
        server.settle(lambda: one.fingerprint and one.model is None)
    assert [note["event"] for note in events(records)] == ["loaded", "unloaded"]
    assert events(records)[1]["why"] == "unused for 0.1 s"


def test_refusals_are_noted_with_code_and_field(endless_path, tmp_path):
    chat, tokens = "/v1/chat/completions", "max_tokens"
    asked = [
        (chat, CHAT | {"temprature": 1}, 400, "unknown_field", "temprature"),
        (chat, CHAT | {tokens: 0}, 400, "invalid_request_error", tokens),
        (chat, CHAT | {"model": "none"}, 404, "model_not_found", "model"),
        ("/v1/messages", CHAT | {"top": 1}, 400, "unknown_field", "top"),
        ("/api/generate", {"model": "tiny", "prompt": "x", "context": [1]}, 400, "unsupported", "context"),
        (chat, CHAT | {"x" * 500: 1}, 400, "unknown_field", "x" * 80),
        ("/v1/nowhere", {}, 404, "invalid_request_error", None),
    ]
    with command(endless_path, "--max-tokens", "100000") as (url, process):
        for path, body, status, *_ in asked:
            assert httpx.post(url + path, json=body, timeout=PATIENCE).status_code == status
        endless = CHAT | {"stream": True, "intact": {"deadline": 4}, tokens: 20000, "ignore_eos": True, "n": 64}
        assert "exceeded the time limit" in httpx.post(url + chat, json=endless, timeout=PATIENCE).text
    lines = [json.loads(line) for line in process.log.splitlines()]
    noted = [line for line in lines if line["from"] == "intact.serve.access" and line["method"] == "POST"]
    found = [(line["path"], line["status"], line["code"], line.get("field")) for line in noted]
    assert found[:-1] == [(path, status, code, field) for path, _, status, code, field in asked]
    assert (found[-1][1:]) == (200, "timeout", None)  # amid a stream
    assert not any("code" in line for line in lines if line.get("status") == 200 and line is not noted[-1])
    assert "secret words" not in process.log


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "no JSON"}}
METHOD = {"method": "self_consistency"}
WRONG = [
    ({"messages": [*CHAT["messages"], {"role": "assistant", "tool_calls": [CALL]}]}, "messages[1].tool_calls[0]"),
    ({"intact": {"now": "noon"}}, "intact.now"),
    ({"intact": {"mix": "juice"}}, "intact.mix"),
    ({"add_generation_prompt": True, "continue_final_message": True}, "add_generation_prompt"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"intact": METHOD | {"parameters": {"n": 0}}}, "intact.parameters.n"),
    ({"intact": METHOD | {"now": "noon"}}, "intact.now"),
    ({"intact": METHOD, "model": "other:best-of-n"}, "intact.method"),
]


def test_fields_of_a_chat_are_checked_before_its_model_is_loaded(tiny_path, tmp_path):
    other = write_tiny(tmp_path / "other.gguf", "llama", context=64)
    with running({"tiny": tiny_path, "other": other}) as server:
        for fields, place in WRONG:
            reply = httpx.post(server.url + "/v1/chat/completions", json=CHAT | {"model": "other"} | fields)
            assert (reply.status_code, reply.json()["error"]["param"][: len(place)]) == (400, place), reply.text
        assert httpx.get(server.url + "/v1/models/other").json()["status"] == "unloaded"


def test_a_broken_first_model_holds_nobody_up(tiny_path, tmp_path, records):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_path.read_bytes()[:5000])
    with running({"broken": broken, "tiny": tiny_path}) as server:
        server.settle(lambda: httpx.get(server.url + "/ready").status_code == 200)
        entries = {entry["id"]: entry for entry in httpx.get(server.url + "/v1/models").json()["data"]}
        assert entries["broken"]["status"] == "failed"
        assert entries["broken"]["error"].startswith("the model broken cannot be loaded: ")
        assert "broken.gguf" in entries["broken"]["error"]
        assert str(tmp_path) not in entries["broken"]["error"], "clients learn no folders"
        assert entries["tiny"]["status"] == "unloaded"
        assert "error" not in entries["tiny"]
        assert httpx.post(server.url + "/v1/chat/completions", json=CHAT, timeout=PATIENCE).status_code == 200
        assert httpx.get(server.url + "/v1/models/tiny").json()["status"] == "loaded"
        broken.write_bytes(tiny_path.read_bytes())  # as its owner repairs it
        body = CHAT | {"model": "broken"}
        assert httpx.post(server.url + "/v1/chat/completions", json=body, timeout=PATIENCE).status_code == 200
        assert httpx.get(server.url + "/v1/models/broken").json()["status"] == "loaded"
    errors = [record.getMessage() for record in records if record.levelno == logging.ERROR]
    assert [message.partition(":")[0] for message in errors] == ["the model broken cannot be loaded"]


def test_a_server_without_a_model_that_loads_is_not_ready(tiny_path, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with running({"broken": broken}) as server:
        one = server.service.models.served["broken"]
        server.settle(lambda: one.failure)
        assert httpx.get(server.url + "/ready").status_code == 503
        assert httpx.get(server.url + "/health").status_code == 200
