"""``intact models``, ``pull`` and ``info``."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys

import intact
from intact.checkpoints.catalogue import CATALOGUE, DEFAULT
from intact.receipts.identity import digests_of
from support.hub_server import Hub as HubServer
from support.hub_server import serve
from support.models import real_model
from support.patience import PATIENCE
from support.tiny import write_tiny


def test_models_tell_what_is_here(intact_command, default_here):
    result = intact_command("models")
    for entry in CATALOGUE.values():
        assert entry.name in result.out
    rows = {row["name"]: row for row in intact_command("models", "--json").json["models"]}
    assert rows[DEFAULT]["here"]
    assert rows[DEFAULT]["path"] == str(default_here)
    assert rows[DEFAULT]["default"]
    assert not rows["qwen3-0.6b"]["here"]
    assert rows["qwen3-0.6b"]["sources"] == ["hub Qwen/Qwen3-0.6B-GGUF"]


def test_a_damaged_listing_is_named_and_the_rest_is_listed(intact_command, home):
    folder = home / "models" / "hub" / "someone" / "tiny" / "main"
    folder.mkdir(parents=True)
    (folder / "listing.json").write_text("{")
    for options in ((), ("--json",)):
        result = intact_command("models", *options)
        assert result.code == 0
        assert DEFAULT in result.out
        assert f"left out: {folder / 'listing.json'} is not valid JSON" in " ".join(result.err.split())


def test_pull_fetches_once_and_records_the_digest(intact_command, home, monkeypatch):
    content = random.Random(1).randbytes(100_000)
    with serve(HubServer({("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf"): content})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        first = intact_command("pull", "qwen3-0.6b", "--json")
        assert first.code == 0, first.err
        second = intact_command("pull", "qwen3-0.6b")
    assert first.json["fresh"]
    assert first.json["sha256"] == hashlib.sha256(content).hexdigest()
    assert "already here" in second.out
    rows = {row["name"]: row for row in intact_command("models", "--json").json["models"]}
    assert rows["qwen3-0.6b"]["sha256"] == first.json["sha256"]
    assert rows["qwen3-0.6b"]["bytes"] == len(content)


def test_a_pull_that_fails_is_one_line(intact_command, monkeypatch):
    with serve(HubServer(gated=True)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        result = intact_command("pull", "gemma-3-1b-it")
    assert result.code == 2
    assert result.err.startswith(
        "error: cannot pull gemma-3-1b-it: hub ggml-org/gemma-3-1b-it-GGUF: accept the licence"
    )
    assert result.err.count("\n") == 1


def test_info_of_a_real_model(intact_command):
    path = real_model("smollm2-135m")
    facts = intact_command("info", path, "--json").json
    assert (facts["architecture"], facts["layers"], facts["context"]) == ("llama", 30, 8192)
    assert facts["heads"] == 9
    assert facts["kv_heads"] == 3
    assert facts["chat_template"]
    assert set(facts["formats"]) == {"Q4_1", "Q8_0", "F32"}
    assert facts["parameters"] == 134_515_008
    assert 96_000_000 < facts["bytes"] < path.stat().st_size
    assert "Q4_1 x" in intact_command("info", path).out


def test_info_tells_about_the_installation(intact_command):
    facts = intact_command("info", "--json").json
    assert facts["tier"] in facts["tiers"]
    assert facts["cores"] >= 1
    assert facts["memory"] > 10**8
    assert "numerics version" in intact_command("info").out


def test_ctrl_c_in_a_pull_leaves_nothing_under_the_name(home, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}/simple")
        process = subprocess.Popen([sys.executable, "-m", "intact.cli", "pull"], stderr=subprocess.PIPE)
        deaf.accept()[0].close()
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert errors == b"\n"
    assert not list((home / "models").glob("*.gguf"))


def test_info_gives_the_digests_that_receipts_have(intact_command, tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf")
    facts = intact_command("info", path, "--digests", "--json").json
    own = digests_of(intact.load(path))
    assert facts["weights_digest"] == own.weights.hex()
    assert facts["tokenizer_digest"] == own.tokenizer.hex()
    assert facts["template_digest"] == own.template.hex()
    assert "weights_digest" not in intact_command("info", path, "--json").json
    assert "give one" in intact_command("info", "--digests").err
