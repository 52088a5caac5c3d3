"""The help of commands: short by --help, whole by --help-all, and the option -m wherever a model is taken."""

import re

import pytest
import typer.main

from intact.cli.app import FIRST, app
from intact.cli.help import is_advanced
from intact.cli.model_option import MODEL_ARGUMENTS


def leaves(command, words=()):
    if not hasattr(command, "commands"):
        yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*words, name))


ROOT = typer.main.get_command(app)
COMMANDS = dict(leaves(ROOT))
EACH = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
KEEP_THE_POSITIONAL_FORM = {("eval",), ("serve",), ("pull",), ("info",), ("models", "show"), ("models", "rm")}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@EACH
def test_help_is_short_and_help_all_whole(intact_command, words):
    command = COMMANDS[words]
    short, whole = (intact_command(*words, option) for option in ("--help", "--help-all"))
    assert (short.code, whole.code) == (0, 0)
    assert len(short.out.splitlines()) <= 60
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    assert rows(whole.out, options) == [one.name for one in options]
    common = [one for one in options if not is_advanced(one)]
    assert rows(short.out, options) == [one.name for one in common]
    assert bool(re.search(r"│ +--help-all ", short.out)) == (common != options)


def rows(shown, options):
    """Return the names of the options that a help page has a row for."""
    return [one.name for one in options if re.search(rf"^│ .*{one.opts[0]}(?![\w-])", shown, re.MULTILINE)]


def test_the_first_help_shows_ten_commands_and_names_the_rest(intact_command):
    shown = intact_command("--help").out
    assert len(FIRST) == 10
    assert re.findall(r"^│ (\w+) ", shown.partition("Commands")[2], re.MULTILINE) == list(FIRST)
    assert "intact help all" in shown


def test_help_all_lists_every_command_by_group(intact_command):
    shown = intact_command("help", "all").out
    listed = re.findall(r"^│ (\w+) ", shown.partition("Commands that answer")[2], re.MULTILINE)
    assert sorted(listed) == sorted(ROOT.commands)
    assert intact_command("--help-all").out == shown


@pytest.mark.parametrize("words", [("solve",), ("receipt", "show"), ("logs",), ()], ids=" ".join)
def test_help_of_a_command_is_what_the_command_shows(intact_command, words):
    assert intact_command("help", *words).out == intact_command(*words, "--help").out


def test_help_of_no_command_names_the_nearest(intact_command):
    result = intact_command("help", "recept")
    assert result.code == 2
    assert "intact has no command 'recept': did you mean receipt?" in result.err


def test_the_short_help_has_three_examples_and_the_full_one_all(intact_command):
    from intact.cli import run

    short, full = (intact_command("run", option).out for option in ("--help", "--help-all"))
    assert run.EXAMPLES in full
    examples = short.rpartition("╯\n")[2]
    assert run.EXAMPLES.startswith(examples.rstrip())
    assert len([line for line in examples.splitlines() if line and not line.startswith("  ")]) == 3


@EACH
def test_every_command_that_takes_a_model_takes_it_by_m(words):
    named = {one.name: one for one in COMMANDS[words].params}
    argument = next((named[name] for name in MODEL_ARGUMENTS if name in named), None)
    if argument is not None and argument.param_type_name == "argument":
        assert "-m" in named["given_model"].opts
        assert argument.hidden != (words in KEEP_THE_POSITIONAL_FORM)
    else:
        assert all({"-m", "--model"} <= set(one.opts) for one in named.values() if "--model" in one.opts)


@pytest.mark.parametrize(
    "old",
    [
        ("run", "./none.gguf", "Hi"),
        ("chat", "./none.gguf"),
        ("bench", "./none.gguf"),
        ("embed", "./none.gguf", "--pooling", "last", "Hi"),
        ("quantize", "--to", "int4-32", "./none.gguf", "--out", "there"),
    ],
    ids=lambda words: words[0],
)
def test_a_model_as_an_argument_is_an_old_form_that_works(intact_command, old):
    new = [word for word in old if word != "./none.gguf"]
    new[1:1] = ["-m", "./none.gguf"]
    first, second = intact_command(*old), intact_command(*new)
    assert f"intact {old[0]} ./none.gguf is an old form: write intact {old[0]} -m ./none.gguf" in first.err
    assert second.err == "error: ./none.gguf: no such file or folder\n"
    assert first.err.endswith(second.err)


@pytest.mark.parametrize("words", [("eval", "gsm8k"), ("serve",), ("models", "show")], ids=lambda words: words[0])
def test_where_both_forms_stay_they_are_the_same(intact_command, words, monkeypatch, tmp_path):
    monkeypatch.setenv("INTACT_DATA", str(tmp_path))
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    head, tail = (words, ()) if words[0] == "models" else (words[:1], words[1:])
    positional, named = intact_command(*head, "none.gguf", *tail), intact_command(*head, "-m", "none.gguf", *tail)
    assert positional.err == named.err == "error: none.gguf: no such file or folder\n"


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "-m", "a.gguf", "b.gguf", "gsm8k"),
        ("serve", "b.gguf", "-m", "a.gguf"),
        ("chat", "-m", "a.gguf", "b.gguf"),
        ("run", "-m", "a.gguf", "b.gguf", "Hi"),
    ],
    ids=lambda words: words[0],
)
def test_a_model_in_both_forms_is_an_error(intact_command, words):
    result = intact_command(*words)
    assert result.code == 2
    assert "got two models, 'a.gguf' from -m and 'b.gguf'" in result.err


def test_a_command_without_its_model_names_the_option(intact_command):
    assert "Missing option '--model' / '-m'" in intact_command("embed").err


def test_the_usage_shows_the_model_as_an_option(intact_command):
    assert "Usage: intact embed [OPTIONS] -m MODEL [TEXT]... " in intact_command("embed", "--help").out
    assert "Usage: intact chat [OPTIONS] " in intact_command("chat", "--help").out
    assert "Usage: intact eval [OPTIONS] MODEL [TASK] " in intact_command("eval", "--help").out
