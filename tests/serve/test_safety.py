"""Who is let in, and what happens to what is malformed, too long, too slow, or hostile."""

import asyncio
import hashlib
import json
import re
import resource
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import openai
import pytest
from starlette.datastructures import Headers

from intact._base.errors import ParameterError
from intact.serve.middleware import SecurityMiddleware
from intact.serve.settings import ServerSettings, is_loopback, read_keys
from support.bombs import BOMBS, contained
from support.patience import PATIENCE
from support.serving import running

KEY = "correct-horse-battery-staple"
THOUSAND = 1000
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def guarded(tiny_path):
    limits = {"body_bytes": 20_000, "max_choices": 8}
    with running({"tiny": tiny_path}, keys=(KEY,), hosts=("Box.example", "other.example:8080"), **limits) as there:
        yield there
        there.settle(there.idle)


@pytest.fixture
def impatient(tiny_path):
    with running({"tiny": tiny_path}, keys=(KEY,), body_seconds=0.5, header_seconds=0.5) as there:
        yield there


def ask(server, path="/v1/chat/completions", body=None, **headers):
    headers = {"authorization": f"Bearer {KEY}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if body is None:
        return httpx.get(server.url + path, headers=headers)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(server.url + path, content=content, headers={"content-type": "application/json", **headers})


def test_only_keys_open(guarded):
    assert ask(guarded, body=CHAT).status_code == 200
    for wrong in ("", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}"):
        for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/nowhere"):
            answer = ask(guarded, path, authorization=wrong)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert KEY not in answer.text
    for path in ("/", "/health", "/page/index.html"):
        assert ask(guarded, path, authorization="").status_code == 200
    client = openai.OpenAI(base_url=guarded.url + "/v1", api_key="no", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_only_the_first_x_api_key_counts(guarded):
    for keys, status in (([KEY, "wrong"], 200), (["wrong", KEY], 401), (["", KEY], 401)):
        answer = httpx.get(guarded.url + "/v1/models", headers=[("x-api-key", key) for key in keys])
        assert answer.status_code == status


def test_other_addresses_need_keys():
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(ParameterError, match="--api-keys"):
            ServerSettings(host)
        assert ServerSettings(host, keys=(KEY,)).keys
        assert ServerSettings(host, no_auth=True).host == host


def test_keys_are_read_from_a_file(tmp_path):
    (tmp_path / "keys").write_text(f"# mine\n\n{KEY}\n  another-key-of-some-length \n")
    assert read_keys(tmp_path / "keys") == (KEY, "another-key-of-some-length")
    (tmp_path / "none").write_text("# none\n")
    for name in ("none", "absent"):
        with pytest.raises(ParameterError, match=name):
            read_keys(tmp_path / name)
    with pytest.raises(ParameterError, match="16 characters"):
        ServerSettings(keys=("short",))


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[", "127.0.0.1.evil.example:8000"])
def test_a_strange_host_is_refused(guarded, host):
    answer = ask(guarded, "/health", host=host)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8000", "BOX.example", "other.example", "10.1.2.3"]
)
def test_a_listed_host_or_an_address_is_not(guarded, host):
    assert ask(guarded, "/health", host=host).status_code == 200


def test_pages_of_other_origins_stay_out(guarded, tiny_path):
    for origin in ("https://evil.example", "null", "http://localhost:1", f"http://127.0.0.1:{guarded.port + 1}"):
        answer = ask(guarded, body=CHAT, origin=origin)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert ask(guarded, body=CHAT, origin=guarded.url).status_code == 200
    with running({"tiny": tiny_path}, origins=("https://chat.example",)) as other:
        wanted = "authorization,content-type,x-stainless-lang"
        headers = {"origin": "https://chat.example", "access-control-request-method": "POST"}
        headers |= {"access-control-request-headers": wanted}
        answer = httpx.options(other.url + "/v1/chat/completions", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        assert answer.headers["access-control-allow-headers"] == wanted
        answer = httpx.post(other.url + "/v1/chat/completions", json=CHAT | {"n": 0}, headers=headers)
        assert answer.status_code == 400  # pages may read errors too
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        assert answer.headers["access-control-expose-headers"] == "retry-after, intact-warning"


def test_the_page_may_talk_to_its_server_alone(guarded):
    for path in ("/", "/page/index.html"):
        answer = ask(guarded, path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/"):
        assert ask(guarded, path).status_code in (401, 404)


def test_long_bodies_are_not_read(guarded):
    long = {**CHAT, "user": "x" * 20_000}
    assert ask(guarded, body=long).status_code == 413

    def pieces():
        for _ in range(100):
            yield b" " * 1000

    answer = httpx.post(
        guarded.url + "/v1/chat/completions", content=pieces(), headers={"authorization": f"Bearer {KEY}"}
    )
    assert answer.status_code == 413


def test_a_body_whose_length_is_too_much_is_refused_before_it_comes(guarded):
    for length, refused in ((20_000, False), (20_001, True)):
        with connect(guarded) as waiting:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            waiting.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode())
            if not refused:  # the rest of it is waited for
                waiting.sendall(json.dumps(CHAT).encode().ljust(length))
            assert waiting.recv(100).startswith(b"HTTP/1.1 413 " if refused else b"HTTP/1.1 200 ")


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def test_slow_headers_and_bodies_are_cut_off(impatient):
    with connect(impatient) as silent, connect(impatient) as dripping, connect(impatient) as half:
        half.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        dripping.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        assert silent.recv(100) == b""
        assert dripping.recv(100) == b""
        assert b" 408 " in half.recv(100)


def test_an_upload_that_drips_is_cut_off(tiny_path, tmp_path):
    head = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with running({"tiny": tiny_path}, state=tmp_path, body_seconds=0.5) as there, connect(there) as dripping:
        dripping.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode())
        dripping.settimeout(0.05)
        told, pieces = b"", 0
        while not told:
            dripping.sendall(b"\r\n")  # never a pause as long as that; what is before a form does not matter
            pieces += 1
            assert pieces < 1000
            with suppress(TimeoutError):
                told = dripping.recv(1000)
        dripping.settimeout(PATIENCE)
        while part := dripping.recv(1000):
            told += part
        assert b" 408 " in told
        assert b"connection: close" in told.lower()
        answer = httpx.post(there.url + "/v1/files", data={"purpose": "batch"}, files={"file": ("x", b"x" * 10**6)})
        assert answer.status_code == 200


def test_what_is_left_of_a_refused_upload_is_not_waited_for(tiny_path, tmp_path):
    head = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with running({"tiny": tiny_path}, state=tmp_path) as there, connect(there) as half:
        half.sendall(f"{head}Content-Length: 100000\r\n\r\nno form".encode())
        told = b""
        while part := half.recv(1000):
            told += part
        assert b" 400 " in told
        assert b"connection: close" in told.lower()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
def test_a_client_that_sends_on_hears_why_its_body_is_refused(tiny_path, tmp_path, path):
    """With bytes unread, the system would reset the connection, and throw the answer away."""
    limits = {"body_bytes": 20_000, "upload_bytes": 20_000}
    form = "Content-Type: multipart/form-data; boundary=x"
    with running({"tiny": tiny_path}, state=tmp_path, **limits) as there, connect(there) as busy:
        busy.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{form}\r\nContent-Length: 1000000\r\n\r\n".encode())
        for _ in range(10):
            busy.sendall(b" " * 100_000)
            time.sleep(0.01)
        answer = b""
        while part := busy.recv(1000):
            answer += part
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_too_long"


def test_headers_have_an_end(guarded):
    """Whether they come to theirs, or never would."""
    limit = 65_536
    assert ask(guarded, "/health", x_long="x" * 60_000).status_code == 200
    answer = ask(guarded, "/health", x_long="x" * limit)
    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "headers_too_long"
    assert answer.headers["connection"] == "close"
    with connect(guarded) as endless:
        start = b"GET /health HTTP/1.1\r\nHost: localhost\r\nx-long: "
        endless.sendall(start + b"x" * (limit + 1 - len(start)))
        reply = endless.recv(10)
        endless.sendall(b"x" * limit)  # read on, unseen: the connection is not reset
        while part := endless.recv(1000):
            reply += part
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert json.loads(body)["error"]["code"] == "headers_too_long"


def test_too_many_connections_are_told_so(tiny_path):
    asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running({"tiny": tiny_path}, connections=2) as there, connect(there) as first, connect(there) as second:
        there.settle(lambda: len(there.connections) == 2)
        answer = httpx.get(there.url + "/health")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "too_many_connections"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        for connection in (first, second):  # those that were there before stay
            connection.sendall(asked)
            assert is_well(connection)


def test_a_failure_is_told_counted_and_guarded(tiny_path, tmp_path, monkeypatch):
    with running({"tiny": tiny_path}, state=tmp_path) as there:
        monkeypatch.setattr("intact.serve.apis.openai.files.Files.all", lambda *_: 1 / 0)
        answer = httpx.get(there.url + "/v1/files")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal_error"
        assert answer.headers["x-content-type-options"] == "nosniff"
        figures = httpx.get(there.url + "/metrics").text
        assert 'intact_requests_total{route="/v1/files",status="500"} 1.0' in figures


@pytest.fixture
def many_files():
    """As many open files as both ends of a thousand connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * THOUSAND + 512
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            pytest.skip(f"needs {needed} open files; the limit here is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_well(connection):
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        answer += connection.recv(1000)
    return answer.startswith(b"HTTP/1.1 200")


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_thousand_idle_connections_hinder_nobody(tiny_path, many_files):
    """A third say nothing, a third are half a request's headers, a third were answered and stay open."""
    half = b"POST /v1/chat/completions HTTP/1.1\r\nHost: local"
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running({"tiny": tiny_path}, header_seconds=60.0) as there:
        there.settle(lambda: there.service.models.served["tiny"].model)
        files = open_files()
        idle = []
        for index in range(THOUSAND):
            idle.append(connect(there))
            if index % 3:
                idle[-1].sendall(half if index % 3 == 1 else whole)
        for connection in idle[2::3]:
            assert is_well(connection)
        assert open_files() >= 2 * THOUSAND  # all of them are there, at both ends
        url = there.url + "/v1/chat/completions"

        async def ask_all():
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                return await asyncio.gather(*(client.post(url, json={**CHAT, "seed": seed}) for seed in range(20)))

        answers = asyncio.run(ask_all())
        assert [answer.status_code for answer in answers] == [200] * 20
        with httpx.stream("POST", url, json={**CHAT, "stream": True}, timeout=PATIENCE) as answer:
            assert b"[DONE]" in answer.read()
        idle[2].sendall(whole)  # one that was quiet for a while is still served
        assert is_well(idle[2])
        for connection in idle:
            connection.close()
        there.settle(lambda: open_files() < files + 50)
        there.settle(there.idle)


NESTED = b'{"model": "tiny", "messages": ' + b"[" * 9000 + b"]" * 9000 + b"}"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff\xfe", None),
        (NESTED, None),
        (b'{"model": "tiny", "messages": [], "seed": ' + b"9" * 5000 + b"}", None),
        ({}, "model"),
        ({"model": "tiny"}, "messages"),
        ({**CHAT, "model": "huge"}, "model"),
        ({**CHAT, "model": 3}, "model"),
        ({**CHAT, "messages": []}, "messages"),
        ({**CHAT, "messages": "Hi"}, "messages"),
        ({**CHAT, "messages": [{"role": "king", "content": ""}]}, "messages[0].role"),
        ({**CHAT, "messages": [{"role": "user"}]}, "messages[0].content"),
        ({**CHAT, "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({**CHAT, "messages": [{"role": "user", "content": "a\ud800b"}]}, "messages"),
        ({**CHAT, "messages": [{"role": "user", "content": "word " * 3000}]}, "messages"),
        (
            {**CHAT, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
        ),
        ({**CHAT, "tempature": 1}, "tempature"),
        ({**CHAT, "temperature": "hot"}, "temperature"),
        ({**CHAT, "temperature": -1}, "temperature"),
        ({**CHAT, "temperature": True}, "temperature"),
        ({**CHAT, "top_p": 0}, "top_p"),
        ({**CHAT, "top_p": 2}, "top_p"),
        ({**CHAT, "n": 0}, "n"),
        ({**CHAT, "n": 9}, "n"),
        ({**CHAT, "n": 1.5}, "n"),
        ({**CHAT, "max_tokens": 0}, "max_tokens"),
        ({**CHAT, "max_tokens": -3}, "max_tokens"),
        ({**CHAT, "max_completion_tokens": 0}, "max_completion_tokens"),
        ({**CHAT, "max_completion_tokens": 0, "intact": {"method": "best_of_n"}}, "max_completion_tokens"),
        ({**CHAT, "seed": 2**80}, "seed"),
        ({**CHAT, "stop": {}}, "stop"),
        ({**CHAT, "stop": ["a", 1]}, "stop[1]"),
        ({**CHAT, "stop": ["x"] * 17}, "stop"),
        ({**CHAT, "logit_bias": {"a": 1}}, "logit_bias"),
        ({**CHAT, "logit_bias": {"99999": 1}}, "logit_bias"),
        ({**CHAT, "logit_bias": {"5": 1000}}, "logit_bias"),
        ({**CHAT, "top_logprobs": 3}, "top_logprobs"),
        ({**CHAT, "logprobs": True, "top_logprobs": 30}, "top_logprobs"),
        ({**CHAT, "presence_penalty": 3}, "presence_penalty"),
        ({**CHAT, "response_format": {"type": "xml"}}, "response_format.type"),
        ({**CHAT, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}},
            "response_format",
        ),
        (
            {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"schema": {"const": "\ud800"}}}},
            "response_format",
        ),
        ({**CHAT, "tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name"),
        ({**CHAT, "tools": [{"type": "search"}]}, "tools[0].type"),
        ({**CHAT, "tool_choice": "required"}, "tool_choice"),
        ({**CHAT, "intact": {"metod": "x"}}, "intact.metod"),
        ({**CHAT, "intact": {"regex": "("}}, "intact.regex"),
        ({**CHAT, "chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
    ],
    ids=lambda value: repr(value)[-50:],
)
def test_bad_requests_name_the_field(guarded, body, param):
    answer = ask(guarded, body=body)
    error = answer.json()["error"]
    assert 400 <= answer.status_code < 500, error
    assert error["param"] == param, error
    assert error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "tiny", "prompt": "a" * 18_000}),
        ("/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": "a" * 18_000}]}),
        (
            "/v1/chat/completions",
            CHAT | {"messages": [{"role": "user", "content": "a" * 18_000}], "intact": {"method": "best_of_n"}},
        ),
    ],
    ids=["completion", "chat", "method"],
)
def test_a_text_that_cannot_fit_is_refused_as_one_that_does_not(guarded, path, body):
    answer = ask(guarded, path, body=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert re.match(
        r"a text of 180\d\d characters does not fit in the context of 1024", answer.json()["error"]["message"]
    )


def test_a_pattern_is_told_as_it_is(guarded):
    body = {**CHAT, "tools": [{"type": "function", "function": {"name": "no spaces"}}]}
    assert "^[a-zA-Z0-9_.-]{1,64}$" in ask(guarded, body=body).json()["error"]["message"]


NESTED_SCHEMA = {"type": "object"}
for _ in range(300):
    NESTED_SCHEMA = {"type": "array", "items": NESTED_SCHEMA, "minItems": 2}


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
        for schema in (
            {"type": "string", "pattern": "(a{1,1000}){1,1000}{1,1000}"},
            {"$ref": "#"},
            {"$ref": "http://127.0.0.1:1/schema"},
            {"type": "array", "minItems": 10**9, "items": {"type": "integer"}},
            NESTED_SCHEMA,
        )
    ]
    + [
        {"intact": {"regex": "(x+x+)+y"}},
        {"intact": {"grammar": "start: start start | start"}},
        {"messages": [{"role": "user", "content": "{% for i in range(10**9) %}{{ i }}{% endfor %}" * 20}]},
        {"messages": [{"role": "user", "content": "\u202e\u0000\U0010ffff e\u0301" + "\u0301" * 400}]},
    ],
    ids=lambda value: repr(value)[-40:],
)
def test_bombs_hurt_nobody(guarded, body):
    answer = ask(guarded, body={**CHAT, **body})
    assert answer.status_code < 500, answer.text
    assert ask(guarded, body=CHAT).status_code == 200


@pytest.mark.parametrize("name", BOMBS)
def test_constraints_explode_elsewhere(server, name):
    ((kind, constraint),) = BOMBS[name].items()
    schema = {"type": "json_schema", "json_schema": {"name": "bomb", "schema": constraint}}
    body = {"response_format": schema} if kind == "json_schema" else {"intact": {kind: constraint}}
    with contained():
        answer = httpx.post(server.url + "/v1/chat/completions", json={**CHAT, **body}, timeout=PATIENCE)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == ("response_format" if kind == "json_schema" else f"intact.{kind}")
    assert "cannot be used: compiling it " in error["message"]
    assert httpx.post(server.url + "/v1/chat/completions", json=CHAT).status_code == 200


HEADS = ("/health", "/ready", "/", "/version", "/v1/models", "/v1/models/tiny", "/v1/methods", "/tokenizer_info")
MORE_HEADS = ("/api/tags", "/api/version", "/openapi.json", "/page/main.js", "/v1/responses/resp_1", "/v1/files")


def test_heads_are_those_of_the_answers(server):
    server.settle(lambda: httpx.get(server.url + "/ready").status_code == 200)
    for path in (*HEADS, *MORE_HEADS):
        head, whole = httpx.head(server.url + path), httpx.get(server.url + path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers == whole.headers
    assert httpx.head(server.url + "/v1/chat/completions").status_code == 405
    assert 'intact_requests_total{route="/v1/models/{name:path}"' in httpx.get(server.url + "/metrics").text


def test_an_old_client_gets_a_stream_without_chunks(server):
    body = json.dumps(CHAT | {"stream": True})
    whole = httpx.post(server.url + "/v1/chat/completions", json=json.loads(body), timeout=PATIENCE).text
    wanted = [line for line in whole.split("\n") if line]
    head = f"POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    for more in ("", "Connection: keep-alive\r\n"):
        first, told = raw_answer(server, f"{head}{more}Host: localhost\r\n\r\n{body}")
        assert "transfer-encoding" not in first
        assert "connection: close" in first
        lines = [line for line in told.split("\n") if line]
        assert len(lines) == len(wanted)
        assert lines[0].startswith("data: {")
        assert lines[-1] == "data: [DONE]"
    first, told = raw_answer(server, "GET /version HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert f"content-length: {len(told)}" in first


def raw_answer(server, request):
    """Send a request, and return head and body of the answer, which ends with its connection."""
    with connect(server) as connection:
        connection.sendall(request.encode())
        answer = b""
        while part := connection.recv(10_000):
            answer += part
    first, _, told = answer.decode().partition("\r\n\r\n")
    return first, told


def test_unknown_paths_and_verbs(guarded):
    assert ask(guarded, "/v1/nowhere").status_code == 404
    assert ask(guarded, "/v1/chat/completions").status_code == 405
    assert ask(guarded, "/v1/chat/completions").json()["error"]["message"]


def test_the_command_refuses_before_it_loads(tmp_path):
    command = [sys.executable, "-m", "intact", "serve", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "--api-keys" in done.stderr


def test_two_models_of_one_name_are_refused():
    command = [sys.executable, "-m", "intact", "serve", "a/m.gguf", "b/m.gguf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "NAME=b/m.gguf" in done.stderr


def test_a_client_is_called_by_eight_digits_of_its_key_s_digest():
    digest = hashlib.sha256(KEY.encode()).digest()
    guard = SecurityMiddleware(None, ServerSettings(keys=(KEY,)), {})
    scope = {"type": "http", "path": "/v1/models", "client": ("127.0.0.1", 1), "headers": []}
    assert guard._client(scope, Headers({"x-api-key": KEY})) == f"key-{digest.hex()[:8]}"
