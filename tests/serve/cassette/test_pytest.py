"""`pytest --intact-cassette`: a suite that nobody edits is recorded, replayed, and grows; also under xdist."""

import json
import subprocess
from pathlib import Path

import pytest

from intact.serve.cassette.cassette import Cassette
from serve.testing.test_plugin import run
from support.recorded_endpoint import chat_reply, endpoint
from support.tiny import write_tiny

SUITE = """
import httpx
import pytest

client = httpx.Client(base_url="{url}/v1", timeout=None, headers={{"authorization": "Bearer sk-proj-0123456789"}})


def ask(text, **more):
    body = {{"model": "gpt", "messages": [{{"role": "user", "content": text}}], "max_tokens": 4, **more}}
    answer = client.post("/chat/completions", json=body, timeout=None)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.fixture(scope="module")
def shared():
    return ask("of all")


@pytest.mark.parametrize("number", range(3))
def test_each(number, shared, intact_cassette):
    assert ask(f"number {{number}}")
    assert ask("the same")
    assert intact_cassette.play_count + intact_cassette.record_count == 2


def test_a_stream():
    assert ask("of a stream", stream=True).endswith("[DONE]\\n\\n")


def test_nothing():
    pass
"""


@pytest.fixture(scope="module")
def there():
    with endpoint(lambda path, body: chat_reply(body, body["messages"][-1]["content"].upper())) as running:
        yield running


@pytest.fixture(scope="module")
def suite(there, tmp_path_factory) -> Path:
    """A folder with a suite whose client has the endpoint's address, and its recording."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_agent.py").write_text(SUITE.format(url=there.url))
    there.requests.clear()
    done = run(folder, "--intact-cassette", "c.json")
    assert done.returncode == 0, done.stdout
    assert "8 recorded" in done.stdout
    assert len(there.requests) == 8
    assert there.requests[0][1]["authorization"] == "Bearer sk-proj-0123456789"
    return folder


def result(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line of the report about the cassette."""
    lines = done.stdout.splitlines()
    return lines[next(place for place, line in enumerate(lines) if "- cassette " in line) + 1]


def test_a_suite_is_replayed_without_the_endpoint_test_by_test(suite, there):
    before, sent = (suite / "c.json").read_bytes(), len(there.requests)
    done = run(suite, "--intact-cassette", "c.json")
    assert (done.returncode, result(done)) == (0, "8 replayed"), done.stdout
    assert (suite / "c.json").read_bytes() == before
    assert len(there.requests) == sent
    assert b"sk-proj" not in before
    scopes = [entry.scope for entry in Cassette.read(suite / "c.json").entries]
    assert scopes == ["", *(f"test_agent.py::test_{name}" for name in ("a_stream",)), *(
        f"test_agent.py::test_each[{number}]" for number in (0, 0, 1, 1, 2, 2)
    )]  # fmt: skip


def test_a_test_that_asks_something_new_fails_with_the_nearest_request(suite, tmp_path):
    (tmp_path / "test_agent.py").write_text((suite / "test_agent.py").read_text().replace("number {", "numeral {"))
    (tmp_path / "c.json").write_bytes((suite / "c.json").read_bytes())
    done = run(tmp_path, "--intact-cassette", "c.json", "-k", "each and 1")
    assert done.returncode == 1
    assert "no recording has this request: POST /v1/chat/completions" in done.stdout
    assert (
        "the nearest recorded request of test_agent.py::test_each[1] differs at body.messages[0].content" in done.stdout
    )
    assert "1 refused" in result(done)


@pytest.mark.slow
def test_parts_of_several_processes_are_merged_into_the_same_file(suite, tmp_path):
    pytest.importorskip("xdist")
    (tmp_path / "test_agent.py").write_text((suite / "test_agent.py").read_text())
    done = run(tmp_path, "--intact-cassette", "c.json", "-n", "2")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "c.json").read_bytes() == (suite / "c.json").read_bytes()
    done = run(tmp_path, "--intact-cassette", "c.json", "-n", "2")
    assert done.returncode == 0, done.stdout
    assert result(done).endswith("replayed")
    assert (tmp_path / "c.json").read_bytes() == (suite / "c.json").read_bytes()


@pytest.mark.slow
def test_the_local_model_answers_new_requests_and_its_answers_are_marked(suite, tmp_path):
    (tmp_path / "test_agent.py").write_text((suite / "test_agent.py").read_text().replace("number {", "numeral {"))
    (tmp_path / "c.json").write_bytes((suite / "c.json").read_bytes())
    model = write_tiny(tmp_path / "tiny.gguf", "qwen3", context=256)
    options = "--intact-cassette", "c.json", "--intact-missing", "answer", "--intact-model", str(model)
    done = run(tmp_path, *options)
    assert done.returncode == 0, done.stdout
    assert result(done) == "5 replayed, 3 answered locally by tiny.gguf and recorded as such"
    assert sum(entry.origin.kind == "local" for entry in Cassette.read(tmp_path / "c.json").entries) == 3
    assert result(run(tmp_path, "--intact-cassette", "c.json")) == "8 replayed, 3 of these answers of a local model"


MARKED = """
import os

import httpx
import pytest


def ask(text):
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return httpx.post(os.environ["OPENAI_BASE_URL"] + "/chat/completions", json=body, timeout=None)


@pytest.mark.intact_cassette(allow_playback_repeats=True)
def test_repeats():
    assert [ask("Hi").status_code for _ in range(COUNT)] == [200] * COUNT


@pytest.mark.intact_cassette(missing="fail", record_mode="none")
def test_never_recorded():
    assert ask("Ho").json()["error"]["code"] == "not_recorded"
"""


@pytest.mark.slow
def test_a_marker_has_settings_of_its_own_and_base_addresses_are_set(there, tmp_path):
    options = "--strict-markers", "--intact-cassette", "c.json", "--intact-upstream", there.url
    for count, line in (("1", "1 recorded"), ("3", "3 replayed")):
        (tmp_path / "test_marked.py").write_text(MARKED.replace("COUNT", count))
        done = run(tmp_path, *options)
        assert (done.returncode, result(done)) == (0, f"{line}, 1 refused, since no recording has them"), done.stdout
    (tmp_path / "test_marked.py").write_text(MARKED.replace("missing=", "mising="))
    done = run(tmp_path, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "takes record_mode, missing, allow_playback_repeats, not mising" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--intact-cassette", "absent.json", "--intact-record-mode", "none"], "absent.json does not exist"),
        (["--intact-cassette", "c.json", "--intact-lock", "l.json"], "exclude each other"),
        *(
            pytest.param(options, message, marks=pytest.mark.slow)
            for options, message in (
                (["--intact-cassette", "test_agent.py"], "test_agent.py: the file is no JSON"),
                (["--intact-missing", "ask"], "--intact-missing needs --intact-cassette FILE"),
                (["--intact-cassette", "c.json", "--intact-missing", "answer"], "needs --intact-model MODEL"),
                (["--intact-cassette", "c.json", "--intact-upstream", "ftp://h"], "is no address"),
            )
        ),
    ],
)
def test_unusable_options_are_refused_before_tests_run(suite, options, message):
    done = run(suite, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr


def test_the_file_is_readable(suite):
    value = json.loads((suite / "c.json").read_text())
    lines = (suite / "c.json").read_text().splitlines()
    assert len(lines) < 40 * len(value["entries"])
    assert max(map(len, lines)) < 200
