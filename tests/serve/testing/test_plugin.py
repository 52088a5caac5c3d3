"""The plugin for pytest: a suite is locked, passes as long as answers are the same, and says how they differ else."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import LockError
from intact.serve.exchange import Exchange
from intact.serve.testing.lock import FORMAT, VERSION, difference, read_lock
from intact.serve.testing.server import RequestRecorder
from support.patience import PATIENCE
from support.tiny import write_tiny

SUITE = """
import openai

client = openai.OpenAI()


def ask(text, **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="intact", messages=messages, max_tokens=6, seed=1, **more)


def test_an_answer():
    assert ask("One?").choices[0].message.content is not None


def test_a_stream():
    assert list(ask("Two?", stream=True))


def test_nothing_is_asked():
    pass
"""
UNUSED = ("cacheprovider", "langsmith_plugin", "schemathesis")
"""Plugins whose import takes longer than the suite."""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the suite of a folder, in a process of its own."""
    installed = any(one.value == "intact.serve.testing.plugin" for one in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "intact.serve.testing.plugin"]
    words = [sys.executable, "-m", "pytest", "-q", *(f"-pno:{name}" for name in UNUSED), *plugin, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=environment, timeout=300)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite, a model and the lock that the plugin wrote."""
    pytest.importorskip("openai")
    folder = tmp_path_factory.mktemp("suite")
    write_tiny(folder / "tiny.gguf", "qwen3", context=256)
    (folder / "test_agent.py").write_text(SUITE)
    done = run(folder, "--intact-lock", "answers.json", "--intact-lock-update", "--intact-model", "tiny.gguf")
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.slow
def test_a_suite_passes_again_and_writes_nothing(suite: Path) -> None:
    before = (suite / "answers.json").read_bytes()
    locked = json.loads(before)
    assert sorted(locked["tests"]) == ["test_agent.py::test_a_stream", "test_agent.py::test_an_answer"]
    done = run(suite, "--intact-lock", "answers.json")
    assert done.returncode == 0, done.stdout
    assert (suite / "answers.json").read_bytes() == before


def test_a_changed_answer_fails_and_is_shown(suite: Path) -> None:
    locked = json.loads((suite / "answers.json").read_text())
    answer = locked["tests"]["test_agent.py::test_an_answer"][0]["answer"]
    answer["choices[0].message.content"] = "X" + answer["choices[0].message.content"]
    other = suite / "other.json"
    other.write_text(json.dumps(locked))
    done = run(suite, "--intact-lock", str(other))
    assert done.returncode == 1
    assert "1 failed, 2 passed" in done.stdout
    assert "the answer to request 1 changed at choices[0].message.content" in done.stdout
    assert "from character 0 on" in done.stdout
    assert "--intact-lock-update" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--intact-lock", "absent.json"], "absent.json cannot be read"),
        (["--intact-lock", "test_agent.py"], "test_agent.py is not valid JSON"),
        (["--intact-lock-update"], "need --intact-lock FILE"),
        (["--intact-any-name"], "need --intact-lock FILE"),
    ],
)
def test_what_cannot_be_a_lock_is_refused_before_tests_run(suite: Path, options: list[str], message: str) -> None:
    done = run(suite, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr


@pytest.mark.slow
def test_a_suite_that_asks_for_another_model_is_answered_with_any_name(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "test_agent.py").write_text(SUITE.replace('model="intact"', 'model="gpt-4o"'))
    lock = ["--intact-lock", "answers.json", "--intact-model", str(suite / "tiny.gguf")]
    assert "no model named 'gpt-4o'" in run(tmp_path, *lock, "--intact-lock-update").stdout
    assert run(tmp_path, *lock, "--intact-lock-update", "--intact-any-name").returncode == 0
    locked, named = (json.loads((folder / "answers.json").read_text()) for folder in (suite, tmp_path))
    assert named["fingerprint"] == locked["fingerprint"]
    assert [one["answer"] for test in named["tests"].values() for one in test] == [
        one["answer"] for test in locked["tests"].values() for one in test
    ]
    assert run(tmp_path, *lock, "--intact-any-name").returncode == 0


@pytest.mark.slow
def test_what_is_missing_is_named_before_tests_run(suite: Path) -> None:
    done = run(suite, "--intact-lock", "answers.json", "--intact-model", "absent.gguf")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--intact-lock: absent.gguf: no such file or folder" in done.stdout + done.stderr
    (suite / "conftest.py").write_text("import sys; sys.modules['fastapi'] = None")
    try:
        done = run(suite, "--intact-lock", "answers.json")
    finally:
        (suite / "conftest.py").unlink()
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--intact-lock: the server needs fastapi: pip install" in done.stdout + done.stderr


@pytest.mark.slow
def test_what_is_missing_is_named_once_for_several_processes(suite: Path) -> None:
    pytest.importorskip("xdist")
    done = run(suite, "--intact-lock", "answers.json", "--intact-model", "absent.gguf", "-n", "2")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.count("absent.gguf: no such file or folder") == 1
    assert "node down" not in done.stdout


@pytest.mark.slow
def test_several_processes_write_the_lock_that_one_writes(suite: Path, tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "test_agent.py").write_text(SUITE)
    options = "--intact-lock", "answers.json", "--intact-model", str(suite / "tiny.gguf")
    done = run(tmp_path, *options, "--intact-lock-update", "-n", "2")
    assert done.returncode == 0, done.stdout
    merged, alone = (json.loads((folder / "answers.json").read_text()) for folder in (tmp_path, suite))
    assert merged | {"model": None} == alone | {"model": None}
    assert run(tmp_path, *options, "-n", "2").returncode == 0
    (tmp_path / "test_agent.py").write_text(SUITE.replace("Two?", "Three?"))
    done = run(tmp_path, *options, "--intact-lock-update", "-n", "2", "-k", "stream")
    updated = json.loads((tmp_path / "answers.json").read_text())["tests"]
    assert done.returncode == 0, done.stdout
    assert updated["test_agent.py::test_an_answer"] == merged["tests"]["test_agent.py::test_an_answer"]
    assert updated["test_agent.py::test_a_stream"] != merged["tests"]["test_agent.py::test_a_stream"]


PLACES = """
import openai
import pytest


def ask(text):
    messages = [{"role": "user", "content": text}]
    openai.OpenAI().chat.completions.create(model="intact", messages=messages, max_tokens=4, seed=1)


@pytest.fixture(scope="module")
def of_all():
    ask("all")


@pytest.fixture
def of_one(of_all):
    ask("one")
    yield
    ask("end")


def test_first(of_one):
    ask("first")


def test_elsewhere(of_all, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ask("elsewhere")


def test_nothing():
    pass
"""


@pytest.mark.slow
def test_what_a_test_is_held_to_does_not_depend_on_those_beside_it_nor_on_its_folder(
    suite: Path, tmp_path: Path
) -> None:
    (tmp_path / "test_places.py").write_text(PLACES)
    model = str(suite / "tiny.gguf")
    done = run(tmp_path, "--intact-lock", "lock.json", "--intact-lock-update", "--intact-model", model)
    assert done.returncode == 0, done.stdout
    locked = json.loads((tmp_path / "lock.json").read_text())["tests"]
    assert {name: len(requests) for name, requests in locked.items()} == {
        "test_places.py::test_first": 2,
        "test_places.py::test_elsewhere": 1,
    }
    for name in ("first", "elsewhere", "nothing"):
        done = run(tmp_path, "--intact-lock", "lock.json", "-k", name)
        assert done.returncode == 0, done.stdout


def test_the_end_of_a_stream_is_waited_for() -> None:
    async def app(scope: object, receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"[DONE]", "more_body": True})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body"})

    recorder, answered = RequestRecorder(app), threading.Event()

    async def send(message: object) -> None:
        answered.set()

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
    thread = threading.Thread(target=lambda: asyncio.run(recorder(scope, None, send)))
    thread.start()
    answered.wait(PATIENCE)
    assert [reply for _, _, reply in recorder.take()] == [b"[DONE]"]
    thread.join()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 3}, "model is 3; expected a string"),
        ({"tests": {"test_a": 7}}, "is damaged"),
        ({"tests": {"test_a": [{"answer": {}}]}}, "is damaged"),
        ({"tests": None}, "is damaged"),
    ],
)
def test_damaged_locks_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path, lock = tmp_path / "lock.json", {"format": FORMAT, "version": VERSION, "tests": {}}
    path.write_text(json.dumps(lock))
    assert read_lock(path, may_be_new=False)["model"] is None
    path.write_text(json.dumps(lock | change))
    with pytest.raises(LockError, match=message):
        read_lock(path, may_be_new=False)


def exchange(
    reply: str, request: str = '{"messages":[{"content":"Hi"}]}', names: dict[str, str] | None = None
) -> Exchange:
    return Exchange("/v1/chat/completions", request.encode(), reply.encode(), {} if names is None else names)


def test_how_a_stream_was_cut_does_not_matter() -> None:
    def event(text: str, finish: str = "null") -> str:
        return f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{finish}}}]}}\n\n'

    one = exchange(event("ab") + event("c", '"stop"') + "data: [DONE]\n\n")
    two = exchange(event("a") + event("bc", '"stop"') + "data: [DONE]\n\n")
    assert one.to_dict() == two.to_dict()
    assert one.answer == {"choices[0].delta.content": "abc", "choices[0].finish_reason": "stop"}


def test_identifiers_of_earlier_replies_are_given_the_same_names_in_every_run() -> None:
    def follow(name: str) -> str:
        names: dict[str, str] = {}
        exchange(f'{{"id":"reply-{name}","tool_calls":[{{"id":"{name}"}}]}}', names=names)
        return exchange("{}", f'{{"messages":[{{"tool_call_id":"{name}","content":"4"}}]}}', names).digest

    assert follow("call-1") == follow("call-9f")


def test_names_of_identifiers_do_not_depend_on_the_order_of_replies() -> None:
    def follow(order: str) -> str:
        names: dict[str, str] = {}
        for name in order:
            exchange(f'{{"id":"call-{name}"}}', f'{{"prompt":"{name}"}}', names)
        return exchange("{}", '{"tool_call_id":"call-a"}', names).digest

    assert follow("ab") == follow("ba")


def test_arguments_of_tools_are_compared_as_texts_and_as_objects() -> None:
    ollama = exchange('{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"id":"7","city":"Oslo"}}}]}}')
    assert ollama.answer["message.tool_calls[0].function.arguments"] == '{"city": "Oslo", "id": "7"}'
    anthropic = exchange('{"content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{"city":"Oslo"}}]}')
    assert anthropic.answer["content[0].input"] == '{"city": "Oslo"}'


def test_separators_of_lines_in_texts_do_not_cut_events() -> None:
    event = 'data: {"choices":[{"index":0,"delta":{"content":"a\u2028b\u0085c"}}]}\n\ndata: [DONE]\n\n'
    assert exchange(event).answer == {"choices[0].delta.content": "a\u2028b\u0085c"}


def test_different_requests_have_different_digests() -> None:
    assert exchange("{}", '{"seed":1}').digest != exchange("{}", '{"seed":2}').digest


def test_the_order_of_requests_does_not_matter_and_missing_ones_do() -> None:
    one, two = (exchange('{"text":"a"}', f'{{"prompt":"{name}"}}').to_dict() for name in "xy")
    assert difference([one, two], [two, one]) == ""
    assert "not sent: 1 to /v1/chat/completions" in difference([one, two], [one])
    assert "request 2 of 2 is not in the lock" in difference([one], [one, two])
    assert "no answers for this test" in difference(None, [one])
    assert difference(None, []) == ""


def test_a_multipart_request_is_the_same_whatever_its_boundary():
    def upload(boundary, content="Hi"):
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="file"\r\n\r\n{content}\r\n--{boundary}--\r\n'
        return Exchange("/v1/files", part.encode(), b"{}", {}).digest

    assert upload("a1b2") == upload("ffffffffffffffff")
    assert upload("a1b2") != upload("a1b2", "Ho")
    assert exchange("{}", "--no boundary").digest != exchange("{}", "--other text").digest
