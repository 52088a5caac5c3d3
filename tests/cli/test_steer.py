"""``intact steer``: what it writes, and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

import intact
from intact.checkpoints.formats.gguf import read_gguf
from intact.library.steering import TextPair, steering_vectors
from intact.models.adapters import read_adapter
from support.tiny import write_tiny

PAIRS = [TextPair("a b c", "c a"), TextPair("the cat", "the dog")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf")


def test_the_command_writes_what_is_read_as_an_adapter(intact_command, tiny: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "pairs.jsonl", tmp_path / "v.gguf"
    file.write_text("\n".join(json.dumps(pair._asdict()) for pair in PAIRS))
    told = intact_command("steer", "-m", tiny, file, "--layer", 1, "--layer", 0, "--out", out, "--json")
    assert [one["layer"] for one in told.json["vectors"]] == [1, 0]
    with intact.load(tiny) as model:
        adapter = read_adapter(out, model.checkpoint, model.program)
    wanted = steering_vectors(tiny, PAIRS, [0, 1])
    assert all(np.array_equal(adapter.vectors[layer], wanted[layer]) for layer in (0, 1))
    assert read_gguf(out).metadata["controlvector.model_hint"] == "llama"
    assert intact_command("run", "-m", tiny, "a b", "--max-tokens", 4, "--adapter", f"{out}:0.5").code == 0


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "contains no pairs of texts"),
        ('{"toward": "a"}', [], "line 1: expected"),
        ('{"toward": "a", "away": "b"}\n{"toward": "a", "away": ""}', [], "line 2: expected"),
        ('{"toward": "a", "away": "b"}', ["--layer", 99], "layers must lie in"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    intact_command, tiny: Path, tmp_path: Path, text: str, options: list[object], message: str
) -> None:
    file, out = tmp_path / "pairs.jsonl", tmp_path / "v.gguf"
    file.write_text(text)
    ran = intact_command("steer", "-m", tiny, file, "--layer", 0, *options, "--out", out)
    assert ran.code == 2
    assert message in ran.err
    assert not out.exists()
    out.write_text("mine")
    file.write_text('{"toward": "a", "away": "b"}')
    assert "already exists" in intact_command("steer", "-m", tiny, file, "--layer", 0, "--out", out).err
    assert out.read_text() == "mine"
