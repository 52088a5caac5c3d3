"""The command as people start it: its address, its log, its end; killed while it streams; no room on the disk."""

import io
import json
import logging
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import httpx
import openai
import pytest

import intact
from intact.serve.logs import TextFormatter
from support.patience import PATIENCE
from support.serving import running

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "secret words"}], "max_tokens": 30, "seed": 9}


@contextmanager
def command(path, *options, **limits):
    """Run `intact serve`; its address, and the process. What it wrote is in `process.log` once it has ended.

    `limits` are those of the kernel by their names, such as `RLIMIT_FSIZE`, soft and hard.
    """

    def limit():
        for name, pair in limits.items():
            resource.setrlimit(getattr(resource, name), pair)

    process = subprocess.Popen(
        [sys.executable, "-m", "intact", "serve", f"tiny={path}", "--port", "0", "--json", *options],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        url = found[0]
        end = time.monotonic() + PATIENCE
        while httpx.get(url + "/ready").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.02)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.log = "".join(lines) + process.communicate(timeout=PATIENCE)[1]


def test_the_server_starts_logs_and_ends(tiny_path):
    with command(tiny_path) as (url, process):
        assert httpx.post(url + "/v1/chat/completions", json=CHAT, timeout=PATIENCE).status_code == 200
        assert httpx.get(url + "/no%0Awhere?key=hidden").status_code == 404
    assert process.returncode in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in process.log.splitlines()]
    asked = [line for line in lines if line["from"] == "intact.serve.access" and line["method"] == "POST"]
    assert [(line["path"], line["status"]) for line in asked] == [("/v1/chat/completions", 200)]
    assert "secret words" not in process.log
    assert "hidden" not in process.log
    assert "Traceback" not in process.log


def test_without_a_prefix_cache_the_same_text_is_computed_anew(tiny_path):
    body = CHAT | {"messages": [{"role": "user", "content": "The same words again and again. " * 12}]}
    texts, saved = set(), []

    def ask_twice(url):
        for _ in range(2):
            answer = httpx.post(url + "/v1/chat/completions", json=body, timeout=PATIENCE).json()
            texts.add(answer["choices"][0]["message"]["content"])
        lines = httpx.get(url + "/metrics").text.splitlines()
        saved.extend(float(one.split()[-1]) for one in lines if one.startswith("intact_engine_cached_tokens_total"))

    with running({"tiny": tiny_path}) as server:
        ask_twice(server.url)
    with command(tiny_path, "--no-prefix-cache") as (url, _):
        ask_twice(url)
    assert len(texts) == 1
    assert saved[0] > 0 == saved[1]


def test_killed_and_started_again_it_has_the_prompts_and_conversations_of_before(tiny_path, tmp_path):
    body = {"model": "tiny", "input": "The same words again and again. " * 12, "max_output_tokens": 9, "seed": 3}
    pages = ("--state", str(tmp_path / "state"), "--prefix-cache", str(tmp_path / "pages"))
    more = {"input": "And then?"}

    def answer(url, **fields):
        reply = httpx.post(url + "/v1/responses", json=body | fields, timeout=PATIENCE).json()
        return reply["id"], reply["output"][0]["content"][0]["text"]

    def metric(url, name):
        lines = httpx.get(url + "/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name))

    with running({"tiny": tiny_path}) as server:
        name, first = answer(server.url)
        wanted = answer(server.url, **more, previous_response_id=name)[1]
    with command(tiny_path, *pages) as (url, process):
        name, text = answer(url)
        assert text == first
        end = time.monotonic() + PATIENCE
        while not metric(url, 'intact_prefix_cache_pages_total{event="written"'):
            assert time.monotonic() < end
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    with command(tiny_path, *pages) as (url, process):
        assert answer(url, **more, previous_response_id=name)[1] == wanted
        assert metric(url, 'intact_prefix_cache_pages_total{event="read"') > 0
        assert metric(url, "intact_engine_cached_tokens_total") > 100
        assert answer(url)[1] == first


def test_a_folder_for_pages_needs_a_prefix_cache(tiny_path, tmp_path):
    words = [sys.executable, "-m", "intact", "serve", f"tiny={tiny_path}"]
    words += ["--no-prefix-cache", "--prefix-cache", str(tmp_path)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 2
    assert (
        "--no-prefix-cache keeps no prefixes, but --prefix-cache names a folder for them: use only one" in ended.stderr
    )


@pytest.mark.parametrize("model", ["tiny=", pytest.param("", marks=pytest.mark.slow)])
def test_an_empty_path_is_refused_before_it_listens(model):
    words = [sys.executable, "-m", "intact", "serve", model, "--port", "0"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    wanted = f"error: {model!r} names no model; expected NAME=MODEL, or only the model\n"
    assert (ended.returncode, ended.stderr) == (2, wanted)


def test_the_server_does_not_start_where_programs_of_clients_would_run_without_protection(tiny_path, monkeypatch):
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    words = [sys.executable, "-m", "intact", "serve", f"tiny={tiny_path}", "--port", "0"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 2
    assert "INTACT_SANDBOX=none would run the programs of clients' requests without any protection" in ended.stderr


def test_killed_while_it_streams_it_gives_the_same_again(tiny_path):
    with command(tiny_path) as (url, process):
        body = CHAT | {"stream": True, "max_tokens": 900, "ignore_eos": True}
        try:
            with httpx.stream("POST", url + "/v1/chat/completions", json=body, timeout=PATIENCE) as answer:
                for _ in answer.iter_lines():
                    process.kill()
        except httpx.HTTPError:
            pass
        assert process.wait(PATIENCE) == -signal.SIGKILL
    with running({"tiny": tiny_path}) as server:
        answer = httpx.post(
            f"{server.url}/v1/chat/completions", json=CHAT | {"temperature": 0.7}, timeout=PATIENCE
        ).json()
    model = intact.load(tiny_path, threads=1)
    wanted = model.chat(CHAT["messages"], max_tokens=30, seed=9, temperature=0.7)
    assert answer["choices"][0]["message"]["content"] == wanted.text


@pytest.mark.parametrize(("hard", "room"), [(4096, True), (150, False)])
def test_the_server_opens_as_many_files_as_it_may_and_says_if_they_are_too_few(tiny_path, hard, room):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    hard = hard if most == resource.RLIM_INFINITY else min(hard, most)
    with command(tiny_path, RLIMIT_NOFILE=(100, hard)) as (url, process), ExitStack() as idle:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        for _ in range(300 if room else 20):
            idle.enter_context(socket.create_connection(address, timeout=PATIENCE))
        assert httpx.post(url + "/v1/chat/completions", json=CHAT, timeout=PATIENCE).status_code == 200
    assert ("150 files may be open here, too few for 2048 connections" in process.log) != room


def test_a_full_disk_costs_one_request(tiny_path, tmp_path):
    with command(tiny_path, "--state", str(tmp_path / "state"), RLIMIT_FSIZE=(20_000, 20_000)) as (url, _):
        client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
        with client:
            for size, status in ((30_000, 507), (300, 200)):
                try:
                    client.files.create(file=("x", io.BytesIO(b"x" * size)), purpose="batch")
                    told = 200
                except openai.APIStatusError as error:
                    told = error.status_code
                assert told == status
            assert len(list(client.files.list())) == 1
        assert httpx.post(url + "/v1/chat/completions", json=CHAT, timeout=PATIENCE).status_code == 200
    assert len(list((tmp_path / "state" / "files").iterdir())) == 2  # a file and its description


def test_what_a_client_sends_begins_no_line_of_the_log():
    log = TextFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    sent = "/x\n12:00:00 INFO forged\r\x1b[2J\u2028\u202e\ud800"
    note = {"client": "local", "method": "GET", "path": sent, "status": 404, "ms": 1}
    record = logging.LogRecord("a", logging.INFO, "", 0, "%(method)s %(path)s %(status)s", (note,), None)
    line = log.format(record)
    assert line.isprintable()
    assert line.endswith(r"INFO GET /x\n12:00:00 INFO forged\r\x1b[2J\u2028\u202e\ud800 404")
    try:
        raise ValueError(sent)
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    first, *more = log.format(record).split("\n")
    assert first.endswith(" ERROR failed")
    assert all(line.startswith("  ") and line.isprintable() for line in more)
    assert more[0] == "  Traceback (most recent call last):"
    assert "  12:00:00 INFO forged" in more
