"""The examples run, and show what they say."""

import runpy
import sys
from pathlib import Path

import pytest

import intact
from support.models import real_model
from support.tiny import write_tiny

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=1024)


def run(example, model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(example), str(model)])
    runpy.run_path(str(example), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_on_a_tiny_model(example, tiny, monkeypatch, capsys):
    output = run(example, tiny, monkeypatch, capsys)
    assert output.strip()
    assert run(example, tiny, monkeypatch, capsys) == output


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_takes_the_default_model_if_none_is_given(example, tiny, monkeypatch, capsys):
    load = intact.load
    monkeypatch.setattr(intact, "load", lambda *given, **options: load(*given or (tiny,), **options))
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_the_default_model_knows_capitals(monkeypatch, capsys):
    """An answer of a real model, which is the same on every machine."""
    chat = next(path for path in EXAMPLES if path.stem == "chat")
    output = run(chat, real_model("smollm2-135m"), monkeypatch, capsys)
    assert "Paris" in output
