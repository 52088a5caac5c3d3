"""Ctrl-C in a long run: the status is 130, and the last lines are the command that goes on, or the option it lacks."""

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from intact.cli import interruption
from intact.cli.app import Command, Commands
from intact.cli.interruption import resumable
from support.tiny import write_evaluated, write_tiny

PATIENCE = 120.0


@pytest.fixture
def interrupted(intact_command, monkeypatch):
    """Run a command line that Ctrl-C ends in the middle of its work."""
    app = typer.Typer(cls=Commands)

    @app.command("work", cls=Command)
    def work(question: str, journal: Path | None = None) -> None:
        with resumable(journal):
            raise KeyboardInterrupt

    @app.command("other", cls=Command)
    def other() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("intact.cli.app.app", app)
    return intact_command


def test_the_command_that_goes_on_is_the_one_that_was_typed(interrupted, tmp_path):
    folder = tmp_path / "it's a run"
    folder.mkdir()
    words = ["work", "What is 17 * 23?\n$HOME", "--journal", str(folder)]
    result = interrupted(*words)
    assert result.code == 130
    first, _, command = result.err.removeprefix("\n").partition("\n")
    assert first == f"results so far are in {folder}; to continue:"
    assert shlex.split(command) == ["intact", *words]


def test_an_empty_journal_is_said_to_be_empty(interrupted, tmp_path):
    result = interrupted("work", "Why?", "--journal", tmp_path / "runs")
    assert f"there is nothing in {tmp_path / 'runs'} yet; to continue:\n  intact work 'Why?' --journal" in result.err


def test_without_a_journal_the_option_is_named_that_keeps_results(interrupted):
    result = interrupted("work", "Why?")
    assert result.code == 130
    assert result.err == (
        "\nnothing was kept; with --journal DIR the same command keeps results, and can resume after Ctrl-C\n"
    )


def test_a_command_that_cannot_go_on_says_nothing(interrupted):
    result = interrupted("other")
    assert (result.code, result.err) == (130, "\n")


@pytest.mark.parametrize(
    ("original", "argv", "words"),
    [
        (["python3", "-m", "intact", "solve"], ["/lib/intact/__main__.py", "solve"], ["python3", "-m", "intact"]),
        (["/v/bin/python3", "/v/bin/intact", "solve"], ["/v/bin/intact", "solve"], ["intact"]),
        (["/v/bin/python3", ".venv/bin/intact", "solve"], [".venv/bin/intact", "solve"], [".venv/bin/intact"]),
    ],
)
def test_the_program_is_named_as_it_was_typed(monkeypatch, original, argv, words):
    monkeypatch.setattr(sys, "orig_argv", original)
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(interruption.shutil, "which", {"intact": "/v/bin/intact"}.get)
    assert interruption.typed_program() == words


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and problems."""
    return write_evaluated(tmp_path_factory.mktemp("interrupted"), 12)


RUNS = {
    "intact.solving.run.solve_all": "solve self_consistency Why -m tiny.gguf --journal runs",
    "intact.solving.run.solve_items": "solve self_consistency --task gsm8k -m tiny.gguf --journal runs",
    "intact.evaluate.run.evaluate": "eval tiny.gguf gsm8k --out result.jsonl --journal runs",
    "intact.evaluate.sweep.run.run_sweep": "sweep gsm8k -m tiny.gguf --training 6 --out sweeps --journal runs",
    "intact.quantizing.lab.measure.run_lab": "lab tiny.gguf --text text.txt --specs int8-32 --work runs",
    "intact.evaluate.values.sample": "learn value tiny.gguf --task gsm8k -n 2 --to head.json --journal runs",
}


@pytest.mark.parametrize("work", RUNS)
def test_every_command_that_keeps_its_results_says_how_it_goes_on(intact_command, place, monkeypatch, work):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(place)
    monkeypatch.setenv("INTACT_DATA", "data")
    (place / "runs").mkdir(exist_ok=True)
    (place / "text.txt").write_text("a text")
    monkeypatch.setattr(work, interrupt)
    result = intact_command(*RUNS[work].split())
    assert result.code == 130, result.err
    assert result.err.endswith(f"\nresults so far are in runs; to continue:\n  intact {RUNS[work]}\n")


@pytest.mark.slow
def test_a_run_that_is_interrupted_prints_its_own_command(tmp_path):
    model, journal = write_tiny(tmp_path / "tiny.gguf", context=1 << 17), tmp_path / "runs"
    command = [sys.executable, "-m", "intact", "solve", "self_consistency", "What's 1 + 1?", "-n", "500"]
    command += ["-m", str(model), "--threads", "1", "--max-tokens", "100000", "--journal", str(journal)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + PATIENCE
    while not list(journal.glob("*")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    head, _, last = err.partition("; to continue:\n")
    assert head.endswith(f"results so far are in {journal}")
    assert shlex.split(last) == command
