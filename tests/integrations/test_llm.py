"""llm finds the plug-in by its entry point; answers have receipts, in this process and on a server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

llm = pytest.importorskip("llm", reason="llm is not installed")

import intact  # noqa: E402
from intact.receipts import canonical  # noqa: E402
from intact.receipts.document import Receipt, read_receipts  # noqa: E402
from intact.receipts.verify import verify  # noqa: E402
from support.serving import running  # noqa: E402


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_path):
    """Folders of llm and intact, with the alias ``tiny``."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "intact").mkdir()
    (folder / "intact" / "aliases.toml").write_text(f'tiny = "{tiny_path}"\n')
    return folder


@pytest.fixture(autouse=True)
def environment(home, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("LLM_USER_PATH", str(home / "llm"))
    monkeypatch.delenv("INTACT_BASE_URL", raising=False)


@pytest.fixture(scope="module")
def model(installed, home, tiny_path):
    """The model as llm finds it."""
    from llm.plugins import load_plugins, pm

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home))
        load_plugins()
        if not pm.has_plugin("intact"):
            pm.load_setuptools_entrypoints("llm")
        return llm.get_model("intact/tiny")


def receipt_of(response):
    return Receipt.parse(canonical.encode(response.response_json["receipt"]))


def test_an_answer_streams_and_its_receipt_is_true(model, tiny_path):
    response = model.prompt("Why is the sky blue?", max_tokens=12, seed=3)
    chunks = list(response)
    receipt = receipt_of(response)
    assert len(chunks) > 1
    assert "".join(chunks) == response.text() == receipt.output.text
    assert receipt.header.request.parameters.seed == 3
    assert receipt.header.request.source is not None
    assert response.response_json["finish_reason"] == "length"
    assert (response.input_tokens, response.output_tokens) == (len(receipt.header.request.prompt), 12)
    (verdict,) = verify(intact.load(tiny_path, drafter="off"), [receipt])
    assert verdict.outcome == "true"


def test_a_server_gives_the_same_answer(model, tiny_path, monkeypatch):
    here = model.prompt("Why?", system="Be brief.", max_tokens=9, seed=5)
    with running({"tiny": tiny_path}) as server:
        there = model.prompt("Why?", system="Be brief.", max_tokens=9, seed=5, base_url=server.url)
        assert there.text() == here.text()
        monkeypatch.setenv("INTACT_BASE_URL", server.url + "/v1")
        again = model.prompt("Why?", system="Be brief.", max_tokens=9, seed=5)
        assert again.text() == here.text()
        with pytest.raises(llm.ModelError, match="HTTP 404: no model named 'nobody'"):
            llm.get_model("intact").prompt("Why?", model="nobody").text()
    assert receipt_of(there).chain == receipt_of(again).chain
    assert receipt_of(there).header.request.prompt == receipt_of(here).header.request.prompt
    assert there.output_tokens == here.output_tokens


def test_options_and_conversations_reach_the_model(model):
    greedy = [model.prompt("Go on.", temperature=0, max_tokens=6, seed=seed).text() for seed in (0, 1)]
    drawn = [model.prompt("Go on.", max_tokens=6, seed=seed).text() for seed in (0, 1)]
    assert greedy[0] == greedy[1]
    assert drawn[0] != drawn[1]
    talk = model.conversation()
    talk.prompt("One", max_tokens=3).text()
    second = talk.prompt("Two", max_tokens=3)
    second.text()
    prompt = receipt_of(second).header.request.source.conversation()["messages"]
    assert [one["role"] for one in prompt] == ["user", "assistant", "user"]
    schema = {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": False}
    assert json.loads(model.prompt("Go on.", schema=schema, max_tokens=40).text()) == {"a": 1}


def test_mistakes_are_named(model):
    with pytest.raises(llm.ModelError, match="intact/tiny is a model already"):
        model.prompt("Hi", model="other").text()
    with pytest.raises(llm.ModelError, match="nosuchmodel"):
        llm.get_model("intact").prompt("Hi", model="nosuchmodel").text()
    with pytest.raises(llm.ModelError, match="cannot be reached"):
        model.prompt("Hi", base_url="http://127.0.0.1:9").text()


def test_the_command_answers_logs_and_writes_receipts(installed, home, tiny_path, tmp_path):
    paths = [str(installed), str(Path(intact.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}

    def run(*words):
        command = [sys.executable, "-m", "llm", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    texts = [run("-m", "intact/tiny", f"Count to {n}.", "-o", "max_tokens", "8") for n in (3, 4)]
    file = tmp_path / "answers.receipts"
    file.write_text(run("intact", "receipts", "-n", "2"))
    receipts = list(read_receipts(file))
    assert [one.output.text.rstrip("\n") for one in receipts] == [text.rstrip("\n") for text in texts]
    verdicts = verify(intact.load(tiny_path, drafter="off"), receipts)
    assert [one.outcome for one in verdicts] == ["true", "true"]
