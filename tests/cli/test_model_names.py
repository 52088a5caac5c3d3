"""Models by name on the command line: pulled from the hub, listed, shown, removed, and used by every command."""

import json
import os
import pty
import subprocess
import sys

import pytest

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT
from support.hub_server import Hub as HubServer
from support.hub_server import serve
from support.patience import PATIENCE
from support.tiny import write_tiny

REPO = "someone/Tiny-GGUF"
NAME = f"hf:{REPO}"
SAMPLING = {"general.sampling.temp": 0.7, "general.sampling.top_k": 5}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    path = write_tiny(tmp_path / "tiny-Q5_0.gguf", "qwen3", metadata=SAMPLING | {"general.license": "mit"})
    files = {(REPO, path.name): path.read_bytes(), (REPO, "tiny-Q8_0.gguf"): b"no model"}
    with serve(HubServer(files)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def pulled(hub, intact_command):
    result = intact_command("pull", NAME, "--json")
    assert result.code == 0, result.err
    return result.json


@pytest.fixture
def alias(tmp_path):
    path = tmp_path / "config" / "intact" / "aliases.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'mine = "{NAME}:Q5_0"\n')
    return path


def rows(intact_command):
    return {row["name"]: row for row in intact_command("models", "--json").json["models"]}


def test_pull_of_a_repository_tells_what_it_fetched(hub, intact_command):
    result = intact_command("pull", f"{NAME}:Q5_0")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith(f"{NAME}:Q5_0: from hub {REPO} at 0123456789ab, ")
    assert lines[0].endswith("licence apache-2.0")
    assert lines[1] == f"SHA-256 {hub.digest((REPO, 'tiny-Q5_0.gguf'))}"
    assert "already here" in intact_command("pull", NAME).out


def test_pull_json_lists_the_files(pulled, hub):
    digest = hub.digest((REPO, "tiny-Q5_0.gguf"))
    assert pulled["name"] == NAME
    assert pulled["fresh"]
    assert (pulled["sha256"], pulled["files"]) == (digest, {"tiny-Q5_0.gguf": digest})


def test_models_lists_what_was_pulled_and_aliases(pulled, alias, intact_command):
    found = rows(intact_command)
    assert list(found)[: len(CATALOGUE)] == list(CATALOGUE)
    row = found[f"{NAME}:Q5_0"]
    assert (row["kind"], row["here"], row["path"]) == ("hub", True, pulled["path"])
    assert (row["bytes"], row["licence"], row["sources"]) == (pulled["bytes"], "apache-2.0", [f"hub {REPO}"])
    assert intact_command("models", "--json").json["aliases"] == [{"name": "mine", "model": f"{NAME}:Q5_0"}]
    text = intact_command("models").out
    assert f"{NAME}:Q5_0" in text
    assert f"mine = {NAME}:Q5_0" in text


@pytest.mark.parametrize("model", [f"{NAME}:Q5_0", NAME, "mine"])
def test_every_command_takes_the_name(pulled, alias, intact_command, model, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert (
        intact_command("run", "-m", model, "Hi", "--max-tokens", "2", "--threads", "1", "--json").json["model"] == model
    )
    solved = intact_command("solve", "self_consistency", "Hi", "-m", model, "-n", "2", "--max-tokens", "2", "--json")
    assert solved.code == 0, solved.err
    assert intact_command("info", model, "--json").json["path"] == pulled["path"]
    assert intact_command("lock", "new", tmp_path / "a.lock", "--model", model, "--json").code == 0
    assert intact_command("lock", "check", tmp_path / "a.lock", "--json").json["same"]
    receipt = tmp_path / "a.receipt"
    assert intact_command("run", "-m", model, "Hi", "--max-tokens", "2", "--receipt", receipt).code == 0
    assert intact_command("verify", receipt, "-m", model).code == 0


def test_a_server_calls_a_model_by_its_repository_unless_it_is_named():
    from intact.cli.serve import _all_named

    texts = [f"{NAME}:Q5_0", f"own={NAME}:Q8_0", "mine", "./x/y.gguf"]
    assert _all_named(texts) == {"Tiny-GGUF": f"{NAME}:Q5_0", "own": f"{NAME}:Q8_0", "mine": "mine", "y": "./x/y.gguf"}
    with pytest.raises(ParameterError, match="would both be named 'Tiny-GGUF'; name one of them: NAME=hf:"):
        _all_named([f"{NAME}:Q5_0", f"{NAME}:Q8_0"])


def test_a_model_without_a_prompt_is_seen(alias, intact_command):
    for model in (f"{NAME}:Q5_0", "mine"):
        assert "standard input is empty" in intact_command("run", "-m", model).err
        assert "is a model, not a method: intact solve METHOD" in intact_command("solve", model).err


def test_a_model_that_is_not_here_says_how(hub, alias, intact_command):
    for command in (("run", "-m", "mine", "Hi"), ("models", "show", "mine"), ("serve", "mine")):
        result = intact_command(*command)
        assert result.code == 2
        assert f"run: intact pull {NAME}:Q5_0" in result.err
    assert hub.listed == []


def test_on_a_terminal_a_missing_model_is_pulled_after_a_question(hub):
    def answer(text):
        mine, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "intact.cli", "info", NAME, "--json"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        os.write(mine, text)
        out = process.communicate(timeout=PATIENCE)[0]
        said = b""
        try:
            while part := os.read(mine, 4096):
                said += part
        except OSError:  # the other end is closed
            pass
        os.close(mine)
        return process.returncode, out, said.decode()

    code, _, said = answer(b"n\n")
    assert code == 2
    assert f"{NAME} is not here yet" in said.replace("\r\n", "")
    assert "licence apache-2.0" in said.replace("\r\n", " ")
    assert hub.ranges == []
    code, out, _ = answer(b"\n")
    assert code == 0
    assert json.loads(out)["architecture"] == "qwen3"


# ---- show


def test_show_tells_what_a_model_is(pulled, intact_command):
    facts = intact_command("models", "show", NAME, "--json").json
    assert facts["name"] == NAME
    assert facts["path"] == pulled["path"]
    assert facts["source"] == f"hub {REPO} at 0123456789abcdef0123456789abcdef01234567"
    assert (facts["architecture"], facts["context"]) == ("qwen3", 512)
    assert facts["quantisation"] in facts["formats"]
    assert facts["chat_template"]
    assert facts["licence"] == "apache-2.0"
    recommended = {"temperature": 0.7, "top_k": 5}
    assert facts["sampling_defaults"] == {"source": "general.sampling.*", "values": recommended, "left_out": []}
    text = intact_command("models", "show", pulled["path"]).out
    assert "temperature 0.7, top_k 5 (general.sampling.*)" in text
    assert "mit" in text


# ---- rm


def test_rm_asks_and_removes(pulled, intact_command):
    refused = intact_command("models", "rm", NAME)
    assert refused.code == 2
    assert "the removal was not confirmed (--yes does not ask)" in refused.err
    assert rows(intact_command)[f"{NAME}:Q5_0"]["here"]
    removed = intact_command("models", "rm", NAME, "--yes", "--json").json
    assert removed["name"] == NAME
    assert removed["bytes"] > pulled["bytes"]
    assert f"{NAME}:Q5_0" not in rows(intact_command)
    assert "cannot be removed" in intact_command("models", "rm", NAME, "--yes").err


def test_rm_of_an_alias_removes_what_it_stands_for(pulled, alias, intact_command):
    assert intact_command("models", "rm", "mine", "--yes").out.startswith(f"{NAME}:Q5_0: removed, ")
    assert f"{NAME}:Q5_0" not in rows(intact_command)
    assert alias.exists()


def test_rm_of_a_model_of_the_catalogue(default_here, home, intact_command):
    other = home / "models" / "mine.gguf"
    other.touch()
    (home / "models" / f".{default_here.name}.0123.partial").write_bytes(b"xx")
    assert intact_command("models", "rm", DEFAULT, "--yes").code == 0
    assert [path.name for path in (home / "models").iterdir()] == ["mine.gguf"]
    assert other.exists()


@pytest.mark.parametrize("name", ["./mine.gguf", "nothing", "hf:../x", "/etc/passwd"])
def test_rm_removes_no_other_files(intact_command, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.gguf").touch()
    result = intact_command("models", "rm", name, "--yes")
    assert result.code == 2
    assert "is not listed by intact models" in result.err
    assert (tmp_path / "mine.gguf").exists()


# ---- aliases


def test_a_broken_file_of_aliases_is_one_line_with_its_place(alias, intact_command):
    alias.write_text('ok = "/x"\nbad = 1\n')
    for command in (("models",), ("run", "-m", "ok", "Hi")):
        result = intact_command(*command)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert f"{alias}, line 2: bad must be" in result.err


# ---- sampling that the model recommends


def test_run_applies_what_the_model_recommends_when_asked_to(pulled, intact_command):
    options = ("run", "-m", NAME, "Hi", "--max-tokens", "4", "--seed", "3", "--json")
    plain = intact_command(*options)
    assert (plain.json["temperature"], plain.json["top_k"]) == (0.0, 0)
    asked = intact_command(*options, "--model-defaults")
    assert (asked.json["temperature"], asked.json["top_k"], asked.json["seed"]) == (0.7, 5, 3)
    assert "general.sampling.* recommends temperature 0.7, top_k 5" in asked.err
    stated = intact_command(*options, "--temperature", "0.7", "--top-k", "5").json
    assert asked.json == stated
    own = intact_command(*options, "--model-defaults", "--temperature", "0")
    assert (own.json["temperature"], own.json["top_k"]) == (0.0, 5)


def test_chat_applies_them_when_asked_to(pulled, intact_command):
    options = ("chat", "-m", NAME, "--max-tokens", "4", "--seed", "3", "--json")
    asked = intact_command(*options, "--model-defaults", stdin="Hi\n")
    assert asked.code == 0, asked.err
    assert asked.out == intact_command(*options, "--temperature", "0.7", "--top-k", "5", stdin="Hi\n").out
