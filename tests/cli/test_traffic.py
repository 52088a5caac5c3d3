"""`intact traffic`: make a file, replay it against a real server, and what is refused."""

import warnings

import pytest

from support.serving import running
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    path = write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=1024)
    with running({"tiny": path}) as there:
        yield there.url + "/v1"


@pytest.fixture
def file(tmp_path, intact_command):
    path = tmp_path / "traffic.jsonl"
    sizes = "--input-len", "20", "--output-len", "5"
    made = intact_command("traffic", "make", path, "--requests", "6", "--request-rate", "50", *sizes)
    assert made.code == 0
    assert "6 requests" in made.err
    return path


def test_replay_prints_saves_and_draws_what_clients_see(intact_command, url, file, tmp_path):
    times, plot = tmp_path / "times.jsonl", tmp_path / "p.png"
    saved = "--goodput", "ttft=60000", "--out", times, "--plot", plot
    found = intact_command("traffic", "replay", file, "--url", url, *saved, "--json").json
    assert (found["requests"], found["failed"]) == (6, 0)
    assert found["goodput"] == pytest.approx(6 / found["seconds"])
    assert len(times.read_text().splitlines()) == 6
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = intact_command("traffic", "replay", file, "--url", url, "--requests", "2").out
    assert "to the first token" in shown
    assert "2 of 2 requests answered" in shown


def test_make_states_the_law(intact_command, tmp_path):
    facts = intact_command("traffic", "make", tmp_path / "t.jsonl", "--prefixes", "2", "--block", "16", "--json").json
    assert facts["law"]["prefixes"] == 2
    assert facts["requests"] == 100


def test_bad_input_is_named_before_anything_is_sent(intact_command, file, tmp_path, monkeypatch):
    there = "--url", "http://127.0.0.1:9/v1"
    assert "already exists" in intact_command("traffic", "make", file).err
    assert "burstiness must be from" in intact_command("traffic", "make", tmp_path / "n", "--burstiness", "0").err
    for arguments, message in (
        (("--goodput", "ttft"), "--goodput must be WHAT=MILLISECONDS"),
        (("--goodput", "itl=3"), "goodput must be ttft, tpot or e2el"),
        (("--plot", "x.docx"), "must end with one of"),
        (("--speed", "0"), "speed must lie in"),
        ((), "http://127.0.0.1:9/v1/models"),
    ):
        result = intact_command("traffic", "replay", file, *there, *arguments)
        assert result.code == 2
        assert message in " ".join(result.err.split())
    monkeypatch.setattr("intact._base.packages._importable", lambda name: name != "httpx")
    assert "pip install httpx" in intact_command("traffic", "replay", file, *there).err


def test_a_server_that_refuses_all_is_a_failure(intact_command, url, tmp_path):
    file = tmp_path / "long.jsonl"
    file.write_text('{"timestamp": 0, "input_length": 5000, "output_length": 4}\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a picture without lines needs no legend
        result = intact_command("traffic", "replay", file, "--url", url, "--plot", tmp_path / "p.png")
    assert result.code == 2
    assert "no request was answered: status 4" in result.err
