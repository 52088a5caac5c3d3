"""The end of a server amid its requests: each is told in its API's form, and no trace of the program is logged."""

import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import anthropic
import httpx
import ollama
import openai
import pytest

from intact.serve import server as serving
from serve.test_command import command
from support.patience import PATIENCE
from support.serving import running

TURNS = [{"role": "user", "content": "Why?"}]
LONG = {"max_tokens": 90_000, "ignore_eos": True, "seed": 1}
OPTIONS = {"num_predict": 90_000, "ignore_eos": True, "seed": 1}
ENDING = "the server is shutting down"
STREAMS = {
    "/v1/chat/completions": {"messages": TURNS, **LONG},
    "/v1/completions": {"prompt": "Why?", **LONG},
    "/v1/messages": {"messages": TURNS, **LONG},
    "/api/chat": {"messages": TURNS, "options": OPTIONS},
    "/api/generate": {"prompt": "Why?", "options": OPTIONS},
}


def stream(url, path, begun):
    """The lines of a stream, which notes when its first one is there."""
    body = {"model": "tiny", "stream": True, **STREAMS[path]}
    lines = []
    with httpx.stream("POST", url + path, json=body, timeout=PATIENCE) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            begun.set()
            if line:
                lines.append(line)
    return lines


def error_of(path, lines):
    """The error that ends a stream, by its message and its kind."""
    last = lines[-1].removeprefix("data: ")
    error = json.loads(last)["error"]
    if path.startswith("/api"):
        return error, lines[-1][0]
    if path == "/v1/messages":
        return error["message"], (lines[-2], json.loads(last)["type"], error["type"])
    return error["message"], (error["type"], error["code"])


def await_refusals(url):
    """Wait until a server takes no more connections, as it has seen the first signal."""
    end = time.monotonic() + PATIENCE
    with suppress(httpx.TransportError):
        while time.monotonic() < end:
            httpx.get(url + "/health", timeout=PATIENCE)
            time.sleep(0.02)


def test_a_second_signal_ends_streams_with_an_error_in_each_form(endless_path):
    begun = {path: threading.Event() for path in STREAMS}
    most = ("--max-tokens", "100000")
    with ThreadPoolExecutor(len(STREAMS) + 1) as pool, command(endless_path, *most) as (url, process):
        waiting = {path: pool.submit(stream, url, path, begun[path]) for path in STREAMS}
        body = {"model": "tiny", "prompt": "x", **LONG}
        whole = pool.submit(httpx.post, url + "/v1/completions", json=body, timeout=PATIENCE)
        for path in STREAMS:
            assert begun[path].wait(PATIENCE), path
        process.send_signal(signal.SIGTERM)
        await_refusals(url)
        assert not any(one.done() for one in waiting.values())  # they have half a minute
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        found = {path: error_of(path, one.result(PATIENCE)) for path, one in waiting.items()}
        answer = whole.result(PATIENCE)
    openai_kind = ("server_error", "ending")
    kinds = dict.fromkeys(STREAMS, openai_kind)
    kinds |= {"/v1/messages": ("event: error", "error", "api_error"), "/api/chat": "{", "/api/generate": "{"}
    assert found == {path: (ENDING, kind) for path, kind in kinds.items()}
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "ending"
    assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in process.log
    assert f"cuts off {len(STREAMS) + 1} requests" in process.log


def test_official_clients_raise_it(endless_path, monkeypatch):
    monkeypatch.setattr(serving, "GRACE", 0.2)
    with running({"tiny": endless_path}, max_tokens=100_000) as server, ThreadPoolExecutor(3) as pool:
        begun = threading.Barrier(4)

        def read(chunks):
            next(chunks)
            begun.wait(PATIENCE)
            for _ in chunks:
                pass

        opened = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        claude = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0)
        chat = {"model": "tiny", "messages": TURNS, "stream": True}
        limits = {"max_tokens": 90_000, "extra_body": {"ignore_eos": True}}
        asked = [
            pool.submit(lambda: read(iter(opened.chat.completions.create(**chat, **limits)))),
            pool.submit(lambda: read(iter(claude.messages.create(**chat, **limits)))),
            pool.submit(lambda: read(ollama.Client(host=server.url).chat(**chat, options=OPTIONS))),
        ]
        begun.wait(PATIENCE)
        server.stop()
        for one, error in zip(asked, (openai.APIError, anthropic.APIStatusError, ollama.ResponseError), strict=True):
            with pytest.raises(error, match=ENDING):
                one.result(PATIENCE)
        opened.close()
        claude.close()


def test_what_ends_in_its_time_is_whole(tiny_path):
    with command(tiny_path) as (url, process):
        body = {"model": "tiny", "prompt": "x", "max_tokens": 400, "ignore_eos": True, "seed": 3, "stream": True}
        with httpx.stream("POST", url + "/v1/completions", json=body, timeout=PATIENCE) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        process.wait(PATIENCE)  # a second signal, which `command` sends to what still runs, would end that time
    assert "Traceback" not in process.log
    assert "cuts off" not in process.log


def test_uploads_and_readers_that_stall_do_not_hold_the_end(endless_path, tmp_path):
    with command(endless_path, "--state", str(tmp_path), "--max-tokens", "100000") as (url, process):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        head = "Host: localhost\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
        with socket.create_connection(address) as upload, socket.create_connection(address) as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            content = head.format("multipart/form-data; boundary=b", 1000)
            upload.sendall(f"POST /v1/files HTTP/1.1\r\n{content}--b\r\n".encode())
            body = json.dumps({"model": "tiny", "prompt": "x", "n": 64, "stream": True, **LONG})
            head = "POST /v1/completions HTTP/1.1\r\n" + head.format("application/json", len(body))
            reader.sendall((head + body).encode())
            assert reader.recv(100).startswith(b"HTTP/1.1 200")
            time.sleep(2)  # until what the system keeps is full
            process.send_signal(signal.SIGTERM)
            await_refusals(url)
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
    assert "Traceback" not in process.log
