"""What holds for the whole command line: quick help, one-line errors, signals, pipes, colours, completion."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import intact
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT
from intact.cli import main
from intact.cli.app import run_app
from support import speaker as speaker_module
from support.patience import PATIENCE

COMMANDS = [
    *("run", "chat", "superposed", "solve", "methods", "check", "embed", "rerank", "serve", "mcp", "shard"),
    *("eval", "judge", "sweep", "report", "tasks", "perplexity", "lab", "bench", "tune", "plan"),
    *("verify", "page", "audit", "meter", "diff"),
    *("prove", "deduce"),
    *("pull", "quantize", "steer", "info", "selftest", "doctor", "help"),
    *("logs", "trace", "learn", "train", "traffic", "cassette", "keys", "receipt", "lock", "models"),
]
GROUPS = {
    "logs": ["", "show", "replay", "path", "rm", "clear"],
    "trace": ["show"],
    "cassette": ["record", "replay", "drift"],
    "keys": ["new", "show", "sign"],
    "receipt": ["show", "commit", "open"],
    "lock": ["new", "check", "cite"],
    "learn": ["concepts", "methods", "settings", "value"],
    "train": ["sft", "preference", "distil", "heads", "recipe", "resume", "export"],
    "traffic": ["make", "replay"],
    "models": ["", "show", "rm"],
}
EACH = [f"{name} {inner}".strip() for name in COMMANDS for inner in GROUPS.get(name, [""])]
HEAVY = ["numpy", "tokenizers", "jinja2", "huggingface_hub", "safetensors", "intact._native"]


def start(*arguments, module="intact.cli", stdout=subprocess.PIPE, **environment):
    root = Path(speaker_module.__file__).parents[1]
    paths = os.pathsep.join([str(root), str(Path(intact.__file__).parents[1])])
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


@pytest.mark.parametrize("command", EACH)
def test_every_command_has_json_and_teaches_by_examples(intact_command, command):
    result = intact_command(*command.split(), "--help-all")
    assert result.code == 0
    assert "--json" in result.out or command in ("help", "mcp")
    assert f"  intact {command}" in result.out.split("╯")[-1]


def test_examples_are_not_wrapped(intact_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    from intact.cli import run

    assert run.EXAMPLES in intact_command("run", "--help-all").out


def test_no_command_shows_the_help(intact_command):
    assert "Commands" in intact_command().out


def test_version(intact_command):
    said = f"intact {intact.__version__}\n"
    assert intact_command("--version").out == said
    module = [sys.executable, "-m", "intact", "--version"]
    assert subprocess.run(module, check=True, capture_output=True, text=True).stdout == said


def test_help_and_completion_import_nothing_heavy():
    script = (
        "import sys\nfrom intact.cli.app import app\n"
        "try:\n    app(['--help'], prog_name='intact')\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_shell_is_offered_commands_and_models(default_here):
    def complete(words):
        variables = {"_INTACT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
        process = start(module="support.completion", **variables)
        return process.communicate(timeout=PATIENCE)[0].decode().split()

    assert complete("intact ") == COMMANDS
    assert complete("intact pull ") == list(CATALOGUE)
    assert complete("intact run ") == list(CATALOGUE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "a", "b", "c"), "got 3 arguments: quote the prompt"),
        (("run", "-m", "a", "b", "c"), "got 2 arguments: quote the prompt"),
        (("run", "-m", DEFAULT), "standard input is empty"),
        (("run", "-m", "", "hello"), "MODEL is empty"),
        (("run", "-m", "./nowhere.gguf", "hello"), "./nowhere.gguf: no such file or folder"),
        (("run", "-m", "qwen3-0.6", "hello"), "did you mean qwen3-0.6b"),
        (("run", "-m", "qwen3-0.6b", "hello"), "intact pull qwen3-0.6b"),
        (("pull", "qwen"), "did you mean qwen2.5-coder-0.5b-instruct or"),
        (("info", "nothing"), "is not a model of the catalogue"),
        (("perplexity", "-m", DEFAULT, "nowhere.txt"), "nowhere.txt"),
        (("run", "--system", "x", "--raw", "hello"), "--raw leaves it out"),
        (("run", "--top-p", "7", "hello"), "top_p must lie in (0, 1], got 7"),
        (("run", "-m", "qwen3-0.6b", "hello", "--max-tokens", "0"), "max_tokens must be an integer from 1"),
        (("chat", "-m", "qwen3-0.6b", "--top-k", "-1"), "top_k must be an integer from 0"),
        (("solve", "self_consistency"), "QUESTION is missing"),
    ],
)
def test_errors_are_one_line_on_stderr(intact_command, speaker, arguments, message):
    result = intact_command(*arguments)
    assert result.code == 2
    assert result.out.strip() == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert message in result.err


def test_a_bug_keeps_its_traceback(intact_command, monkeypatch, speaker):
    monkeypatch.setattr(speaker, "stream", lambda *_, **__: 1 / 0)
    assert isinstance(intact_command("run", "hello").raw.exception, ZeroDivisionError)


def test_a_bug_is_no_verdict(monkeypatch, capsys):
    """1 is what commands that judge end with where something is wrong with what they judged."""
    monkeypatch.setitem(run_app.__globals__, "app", lambda **_: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        run_app()
    assert ended.value.code == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_ctrl_c_stops_an_answer_without_a_traceback(default_here):
    process = start("run", "hello", module="support.speaker", SPEAKER_DELAY="0.05")
    first = process.stdout.read(3)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert first == b"The"
    assert errors == b"\n"


def test_ctrl_c_before_the_commands_are_there_ends_as_later(monkeypatch):
    class Impatient:
        def find_spec(self, name, *_):
            if name == "intact.cli.app":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "intact.cli.app", raising=False)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130


def test_a_reader_that_goes_away_is_no_error(default_here):
    process = start("run", "hello", module="support.speaker", SPEAKER_DELAY="0.02")
    process.stdout.read(3)
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(PATIENCE) == 141
    assert errors == b""


@pytest.mark.parametrize(
    "command",
    [
        *("--help", "methods --json"),
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ("solve --help", "--version", "methods", "info --architectures", "models", "tasks")
        ),
    ],
)
def test_a_reader_that_is_gone_is_told_from_a_verdict(command, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        process = start(*command.split(), stdout=closed, INTACT_HOME=str(tmp_path))
        assert (process.communicate(timeout=PATIENCE)[1], process.returncode) == (b"", 141)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_are_red_on_a_terminal_unless_no_color(setting, coloured):
    import pty

    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
    environment = {**inherited, "TERM": "xterm-256color", **setting}
    process = subprocess.Popen(
        [sys.executable, "-m", "intact.cli", "pull", "nothing"], stderr=theirs, stdout=theirs, env=environment
    )
    assert process.wait(PATIENCE) == 2
    os.close(theirs)
    time.sleep(0.05)
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "error:" in text
    assert ("\x1b[1;31m" in text) == coloured
    assert ("31m" in text) == coloured
