"""What docs/server.md shows works: its Python and curl, the harness, the unit and the container file."""

import re
import subprocess

import pytest

import intact
from support.serving import running

NAME = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "server.md").read_text()


@pytest.fixture(scope="module")
def named(tiny_path):
    """A server whose model has the name that the page uses."""
    with running({NAME: tiny_path}) as there:
        yield there
        there.settle(lambda: there.idle(NAME))


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_langchain(page, named, capsys):
    pytest.importorskip("langchain_openai", reason="needs langchain-openai (extra test)")
    (block,) = [block for block in python_blocks(page) if "langchain" in block]
    exec(block.replace("http://127.0.0.1:8000", named.url), {})
    assert len(capsys.readouterr().out) > 2


def test_python(page, named, capsys):
    names: dict[str, object] = {}
    for block in python_blocks(page):
        if "langchain" not in block:
            exec(block.replace("http://127.0.0.1:8000", named.url), names)
    told = capsys.readouterr().out
    assert "true 20" in told
    assert re.search(r"^[0-9a-f]{16}/\d", told, re.MULTILINE)


def test_curl(page, named):
    (command,) = re.findall(r"^```\n(curl .*?)^```", page, re.MULTILINE | re.DOTALL)
    command = command.replace("http://127.0.0.1:8000", named.url)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert '"object":"chat.completion"' in done.stdout


def test_every_option_of_the_unit_and_the_container_is_known(root):
    from typer.main import get_command

    from intact.cli.app import app

    known = {option for param in get_command(app).commands["serve"].params for option in param.opts}
    for file in ("intact.service", "Containerfile"):
        text = (root / "examples" / "server" / file).read_text()
        line = next(line for line in text.splitlines() if line.startswith(("ExecStart", "ENTRYPOINT")))
        options = re.findall(r"--[a-z-]+", line)
        assert len(options) >= 3
        assert set(options) <= known


@pytest.mark.slow
def test_the_harness_gets_the_likelihoods_of_the_library(named, tiny_path, monkeypatch):
    for name in ("lm_eval", "tenacity", "aiohttp"):
        pytest.importorskip(name, reason="needs lm-evaluation-harness and what it takes for servers: lm-eval[api]")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    from intact.evaluate.harness import IntactLM

    pairs = [("The sky is", " blue"), ("The sky is", " green today"), ("Grüße an", " alle Bären"), ("a b c", " d e f")]
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    remote = LocalCompletionsAPI(
        base_url=named.url + "/v1/completions", model=NAME, tokenizer_backend="remote", num_concurrent=1, batch_size=1
    )
    here = IntactLM(intact.load(tiny_path, threads=1))
    assert remote.loglikelihood(asked) == [pytest.approx(pair, abs=1e-9) for pair in here.loglikelihood(asked)]
