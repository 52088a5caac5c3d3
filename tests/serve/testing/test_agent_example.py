"""The worked example: the tests of LangChain's agent in examples/agent_test pass, and hold its committed lock."""

import ast
import shutil
from pathlib import Path

import pytest

import intact
from intact.checkpoints.catalogue import CATALOGUE
from intact.numerics import VERSION
from intact.receipts.identity import digests_of
from intact.serve.testing.lock import read_lock
from serve.testing.test_plugin import run
from support.models import real_model

EXAMPLE = Path(__file__).parents[3] / "examples" / "agent_test"
LOCK = read_lock(EXAMPLE / "answers.json", may_be_new=False)


def test_every_test_of_the_example_is_locked() -> None:
    tree = ast.parse((EXAMPLE / "test_agent.py").read_text("utf-8"))
    names = {f"test_agent.py::{one.name}" for one in tree.body if isinstance(one, ast.FunctionDef)}
    assert LOCK["tests"].keys() == names
    assert sum(name.endswith("_sampled") for name in names) == len(names) / 2
    assert LOCK["model"] in CATALOGUE
    assert LOCK["fingerprint"].startswith(f"intact-{VERSION}-")


@pytest.mark.slow
def test_the_lock_is_of_this_arithmetic_and_the_model_that_it_names() -> None:
    model = intact.load(real_model("qwen-coder-0.5b"), threads=1)
    try:
        root = digests_of(model).weights.hex()
        assert LOCK["fingerprint"] == f"intact-{VERSION}-{model.executor.profile}-{root[:16]}"
    finally:
        model.close()


@pytest.mark.slow
def test_the_example_passes_and_a_changed_question_fails(tmp_path: Path) -> None:
    pytest.importorskip("langchain.agents", reason="needs langchain (extra test)")
    pytest.importorskip("langchain_openai", reason="needs langchain-openai (extra test)")
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "agent"))
    options = ("--intact-lock", "answers.json", "--intact-model", str(real_model("qwen-coder-0.5b")))
    done = run(folder, *options)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout

    tests = folder / "test_agent.py"
    tests.write_text(tests.read_text("utf-8").replace("Hello, who are you?", "Hello, who is it?"), "utf-8")
    done = run(folder, *options, "-k", "greeting")
    assert done.returncode == 1, done.stdout
    assert "request 1 of 1 is not in the lock: /v1/chat/completions" in done.stdout
    assert "Hello, who is it?" in done.stdout
