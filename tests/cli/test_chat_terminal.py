"""``intact chat`` on a terminal: lines that go on, pasted text, history, Ctrl-C and Ctrl-D."""

import json
import os
import stat
import sys
from contextlib import contextmanager

import pytest

from support.terminal import Terminal
from support.tiny import write_tiny

PROMPT = "\x1b[?2004h> "
LONG = ["--regex", "[a-z ]{1900}", "--max-tokens", "1900"]
SHORT = ["--regex", "[a-z]{3}", "--max-tokens", "3"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=2048)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state" / "intact"


@contextmanager
def chat(tiny, state, *options):
    variables = {
        "INTACT_NO_LOG": "",
        "XDG_STATE_HOME": str(state.parent),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "INPUTRC": "/dev/null",
    }
    terminal = Terminal([sys.executable, "-m", "intact.cli", "chat", str(tiny), *options], **variables)
    try:
        terminal.expect(PROMPT)
        yield terminal
    finally:
        terminal.close()


def messages(state):
    """Return the questions of the only conversation in the log."""
    (file,) = (state / "logs").iterdir()
    return [json.loads(line)["messages"][-1]["content"] for line in file.read_text().splitlines()]


def test_messages_of_several_lines(tiny, state):
    with chat(tiny, state, *SHORT) as terminal:
        terminal.press('"""one\r')
        terminal.expect("... ")
        terminal.press("/help\r")
        terminal.expect("... ")
        terminal.press('two"""\r')
        terminal.expect(PROMPT)
        terminal.press("three\\\r")
        terminal.expect("... ")
        terminal.press("four\r")
        terminal.expect(PROMPT)
        terminal.press("\x1b[200~five\n\n/six\x1b[201~")
        terminal.expect("six")
        terminal.press("\r")
        terminal.expect(PROMPT)
        assert terminal.leave() == 0
    assert messages(state) == ["one\n/help\ntwo", "three\nfour", "five\n\n/six"]


def test_the_history_lasts_and_is_for_its_user_alone(tiny, state):
    with chat(tiny, state, *SHORT) as terminal:
        terminal.press("seven\r")
        terminal.expect(PROMPT)
        assert terminal.leave() == 0
    file = state / "chat_history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open("ab") as stream:
        stream.write(b"damaged\n\xff\n")
    with chat(tiny, state, *SHORT) as terminal:
        terminal.press("\x1b[A")
        terminal.expect("seven")
        terminal.press("\r")
        terminal.expect(PROMPT)
        assert terminal.leave() == 0
    assert file.read_bytes().count(b'"seven"\n') == 2


def test_ctrl_c_ends_the_answer_and_keeps_it(tiny, state):
    with chat(tiny, state, *LONG, "--temperature", "1") as terminal:
        terminal.press("one\r")
        terminal.expect("one\r\n")
        terminal.expect_match("[a-z]{2}")
        terminal.press("\x03")
        terminal.expect("(cut short)")
        terminal.expect(PROMPT)
        terminal.press("half a line")
        terminal.expect("half a line")
        terminal.press_until("\x03", "(Ctrl-D leaves)")  # readline sees a signal only while it waits for keys
        terminal.expect(PROMPT)
        terminal.press("/show\r")
        assert "assistant: " in terminal.expect("temperature 1")
        terminal.expect(PROMPT)
        assert terminal.leave() == 0
    (file,) = (state / "logs").iterdir()
    (entry,) = map(json.loads, file.read_text().splitlines())
    assert entry["answers"][0]["finish"] == "cancelled"
    assert 0 < len(entry["answers"][0]["tokens"]) < 1900
    assert entry["answers"][0]["text"].strip()


def test_nothing_typed_is_kept_without_a_log(tiny, state):
    with chat(tiny, state, "--no-log", *SHORT) as terminal:
        terminal.press("secret\r")
        terminal.expect(PROMPT)
        terminal.press("\x1b[A")
        terminal.expect("secret")
        terminal.press("\x15")
        assert terminal.leave() == 0
    assert not state.exists()
