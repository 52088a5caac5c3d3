"""``intact run`` with standard input: the question, or what a question is about."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact.cli import run
from intact.cli.run import parse
from support.patience import PATIENCE
from support.speaker import SENTENCE


@pytest.mark.parametrize(
    ("words", "piped", "asked"),
    [
        ([], "Why?\n", "Why?\n"),
        (["-"], "Why?\n", "Why?\n"),
        (["Summarise."], "A text.\n", "Summarise.\n\nA text.\n"),
        (["Summarise."], "", "Summarise."),
        (["Summarise."], " \n", "Summarise."),
        (["-m", "smollm2-135m-instruct"], "Why?", "Why?"),
        (["-m", "smollm2-135m-instruct", "Summarise."], "A text.", "Summarise.\n\nA text."),
        (["-m", "smollm2-135m-instruct", "-"], "Why?", "Why?"),
    ],
)
def test_what_is_piped_is_the_question_or_follows_it(intact_command, speaker, words, piped, asked):
    result = intact_command("run", *words, "--raw", stdin=piped)
    assert (result.code, result.out, result.err) == (0, SENTENCE + "\n", "")
    assert [prompt for prompt, _ in speaker.asked] == [asked]


@pytest.mark.parametrize(
    ("words", "piped", "asked"),
    [
        (["smollm2-135m-instruct"], "Why?", "Why?"),
        (["smollm2-135m-instruct", "Summarise."], "A text.", "Summarise.\n\nA text."),
        (["smollm2-135m-instruct", "-"], "Why?", "Why?"),
    ],
)
def test_in_the_old_form_the_model_comes_first(intact_command, speaker, words, piped, asked):
    result = intact_command("run", *words, "--raw", stdin=piped)
    assert (result.code, result.out) == (0, SENTENCE + "\n")
    assert "is an old form: write intact run -m smollm2-135m-instruct" in result.err
    assert [prompt for prompt, _ in speaker.asked] == [asked]


def test_after_two_dashes_the_name_of_an_option_is_a_prompt(intact_command, speaker):
    assert intact_command("run", "--raw", "--", "--continue").code == 0
    assert [prompt for prompt, _ in speaker.asked] == ["--continue"]


@pytest.mark.parametrize("words", [[], ["-"], ["-m", "smollm2-135m-instruct"]])
@pytest.mark.parametrize("piped", ["", " \n\n"])
def test_empty_input_without_a_question_is_an_error(intact_command, speaker, words, piped):
    result = intact_command("run", *words, stdin=piped)
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: standard input is empty: there is nothing to answer\n"
    assert speaker.loaded == []


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("words", "example"),
    [
        ([], 'intact run "your prompt", or intact chat'),
        (
            ["smollm2-135m-instruct"],
            'intact run -m smollm2-135m-instruct "your prompt", or intact chat -m smollm2-135m-inst',
        ),
    ],
)
def test_at_a_terminal_a_missing_prompt_is_an_error_at_once(monkeypatch, words, example):
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(b"never read")))
    with pytest.raises(ParameterError, match="PROMPT is missing") as raised:
        parse(words)
    assert example in str(raised.value)


def test_a_device_is_not_read_where_a_prompt_is_given(monkeypatch):
    with Path("/dev/zero").open() as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert parse(["Why?"])[1] == "Why?"


def test_a_pipe_that_stays_open_is_said(monkeypatch, capsys):
    monkeypatch.setattr(run, "_PATIENCE", 0.05)
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        threading.Timer(0.5, os.close, [writing]).start()
        assert parse(["Why?"])[1] == "Why?"
    assert "reading standard input" in capsys.readouterr().err


def test_a_process_answers_what_is_piped_to_it(tmp_path):
    environment = {**os.environ, "INTACT_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "model.gguf").touch()
    words = [sys.executable, "-m", "support.speaker", "run", "-m", str(tmp_path / "model.gguf")]
    asked = subprocess.run(words, input=b"Why?\n", capture_output=True, env=environment, timeout=PATIENCE, check=False)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, (SENTENCE * 20 + "\n").encode(), b"")
    empty = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=PATIENCE)
    assert (empty.returncode, empty.stdout) == (2, b"")
    assert empty.stderr == b"error: standard input is empty: there is nothing to answer\n"
