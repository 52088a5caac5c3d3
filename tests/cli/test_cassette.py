"""`intact cassette`: a program is recorded, replayed without its endpoint, and the endpoint's drift measured."""

import json
import re
import signal
import subprocess
import sys

import httpx
import pytest

from support.recorded_endpoint import chat_reply, endpoint
from support.tiny import write_tiny

PROGRAM = """
import json, os, sys, urllib.request

for question in sys.argv[1:]:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": question}], "max_tokens": 4}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, headers)
    print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"], flush=True)
"""
KEY = "sk-proj-0123456789abcdef"


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / "program.py").write_text(PROGRAM)
    return "--", sys.executable, tmp_path / "program.py"


@pytest.fixture
def there():
    with endpoint(lambda path, body: chat_reply(body, body["messages"][0]["content"].upper())) as running:
        yield running


@pytest.fixture
def recorded(intact_command, there, program, tmp_path, capfd):
    file = tmp_path / "c.json"
    done = intact_command("cassette", "record", file, "--upstream", there.url, *program, "one", "two")
    assert (done.code, capfd.readouterr().out) == (0, "ONE\nTWO\n")
    assert "2 recorded" in done.err
    assert there.requests[0][1]["authorization"] == f"Bearer {KEY}"
    assert KEY not in file.read_text()
    return file


def test_a_program_is_replayed_without_its_endpoint(intact_command, recorded, program, capfd):
    done = intact_command("cassette", "replay", recorded, "--json", *program, "two", "one")
    assert capfd.readouterr().out == "TWO\nONE\n"
    assert (done.code, done.json["replayed"], done.json["written"]) == (0, 2, False)


def test_the_status_is_that_of_the_program(intact_command, recorded, program, capfd):
    done = intact_command("cassette", "replay", recorded, *program, "three")
    assert done.code == 1
    assert "1 refused" in done.err
    assert "HTTP Error 404" in capfd.readouterr().err


def test_the_local_model_answers_what_is_missing_and_is_marked(intact_command, recorded, program, tmp_path):
    tiny = write_tiny(tmp_path / "tiny.gguf", "qwen3", context=256)
    options = "--missing", "answer", "--model", tiny
    done = intact_command("cassette", "replay", recorded, *options, "--json", *program, "one", "three")
    assert (done.code, done.json["local"], done.json["model"]) == (0, 1, "tiny.gguf")
    assert done.json["identity"] in recorded.read_text()
    assert intact_command("cassette", "replay", recorded, "--json", *program, "three").json["replayed_local"] == 1


def test_drift_has_a_status_for_each_result(intact_command, recorded, there, tmp_path):
    command = "cassette", "drift", recorded, "--upstream", there.url
    done = intact_command(*command, "--json")
    assert (done.code, done.json["compared"], done.json["changed"]) == (0, 2, 0)
    there.answer = lambda path, body: chat_reply(body, "changed")
    page = tmp_path / "drift.html"
    done = intact_command(*command, "--html", page)
    assert done.code == 1
    assert "at choices[0].message.content" in done.out
    assert "recorded: 'ONE'" in done.out
    assert "2 of 2 answers changed: 100.0% (95% interval: 15.8% to 100.0%)" in done.out
    html = page.read_text()
    assert "&#39;changed&#39;" in html
    assert "<svg" in html
    there.answer = lambda path, body: (503, "application/json", [b"{}"])
    done = intact_command(*command)
    assert done.code == 2
    assert "HTTP 503" in done.out
    assert intact_command("cassette", "drift", recorded, "--upstream", "http://127.0.0.1:9").code == 2


@pytest.mark.slow
def test_without_a_program_it_listens_until_it_is_ended_and_then_writes(there, tmp_path):
    file = tmp_path / "c.json"
    words = [sys.executable, "-m", "intact", "cassette", "record", str(file), "--upstream", there.url]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        url = re.search(r"OPENAI_BASE_URL=(\S+),", process.stderr.readline())[1]
        process.stderr.readline()
        body = {"model": "m", "messages": [{"role": "user", "content": "one"}]}
        answer = httpx.post(f"{url}/chat/completions", json=body, timeout=None).json()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 0
    assert answer["choices"][0]["message"]["content"] == "ONE"
    assert "1 recorded" in rest
    assert len(json.loads(file.read_text())["entries"]) == 1


def test_bad_input_is_named_before_anything_runs(intact_command, recorded, program, tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"format": "other"}))
    for arguments, message in (
        (("replay", tmp_path / "absent.json"), "record it first"),
        (("replay", tmp_path / "other.json"), "is no cassette"),
        (("replay", recorded, "--missing", "answer"), "need each other"),
        (("replay", recorded, "--missing", "answer", "-m", "absent.gguf"), "no such file"),
        (("record", recorded, "--match-on", "boddy"), "did you mean body"),
        (("record", recorded, "--redact", "("), "not a regular expression"),
        (("record", recorded, "--upstream", "ftp://x"), "is no address"),
        (("record", tmp_path / "new.json", "--record-mode", "none"), "records nothing"),
        (("record", tmp_path / "absent" / "new.json"), "absent"),
        (("drift", tmp_path / "absent.json"), "cannot be read"),
    ):
        done = intact_command("cassette", *arguments)
        assert done.code == 2, arguments
        assert message in " ".join(done.err.split())
    done = intact_command("cassette", "replay", recorded, "--", "no-such-program")
    assert (done.code, "cannot be run" in done.err) == (2, True)
