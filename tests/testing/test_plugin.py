"""The plugin for pytest: a suite is locked, passes as long as answers are the same, and says how they differ else."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from intact.testing.exchange import Exchange
from intact.testing.lock import difference
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


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the suite of a folder, in a process of its own."""
    installed = any(one.value == "intact.testing.plugin" for one in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "intact.testing.plugin"]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *options]
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


@pytest.mark.slow
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
        (["--intact-lock", "test_agent.py"], "test_agent.py is no JSON"),
        (["--intact-lock-update"], "need --intact-lock FILE"),
    ],
)
def test_what_cannot_be_a_lock_is_refused_before_tests_run(suite: Path, options: list[str], message: str) -> None:
    done = run(suite, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr


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
    assert "--intact-lock needs fastapi: pip install fastapi" in done.stdout + done.stderr


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
    assert exchange("{}", '{"seed":1}').digest != exchange("{}", '{"seed":2}').digest


def test_the_order_of_requests_does_not_matter_and_missing_ones_do() -> None:
    one, two = (exchange('{"text":"a"}', f'{{"prompt":"{name}"}}').to_dict() for name in "xy")
    assert difference([one, two], [two, one]) == ""
    assert "not sent: 1 to /v1/chat/completions" in difference([one, two], [one])
    assert "request 2 of 2 is not in the lock" in difference([one], [one, two])
    assert "no answers for this test" in difference(None, [one])
    assert difference(None, []) == ""
