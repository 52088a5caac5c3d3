import functools
import json
from types import SimpleNamespace

import pytest
import typer.main
import typer.testing
from typer.testing import CliRunner

import intact
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT
from support.speaker import Speaker


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Give an empty store."""
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("INTACT_NO_LOG", "1")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return tmp_path / "home"


@pytest.fixture
def default_here(home):
    """Put a file where the default model's would be."""
    path = home / "models" / CATALOGUE[DEFAULT].file
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.fixture
def speaker(monkeypatch, default_here):
    """Put a speaker in the engine's place; ``loaded`` tells how it was asked for."""
    model = Speaker()
    model.loaded = []

    def load(path, **options):
        model.loaded.append((path, options))
        return model

    monkeypatch.setitem(vars(intact), "load", load)
    return model


built = functools.cache(typer.main.get_command)
"""The commands of an application, built once: that takes longer than most of them."""


@pytest.fixture
def intact_command(monkeypatch):
    """Run the command line in this process; the result has ``json`` where the output is JSON."""
    monkeypatch.setattr(typer.testing, "_get_command", built)

    def run(*arguments, stdin=None):
        from intact.cli.app import app

        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, prog_name="intact")
        try:
            value = json.loads(result.stdout)
        except ValueError:
            value = None
        return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr, json=value, raw=result)

    return run
