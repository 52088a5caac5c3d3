"""What docs/server.md shows works: its Python and curl, the harness, the unit and the container file."""

import configparser
import re
import shutil
import subprocess
import sys

import pytest

import intact
from intact.tools.sandbox import protection
from support.patience import PATIENCE
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


def python_blocks(page, anthropic=False):
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if ("import anthropic" in block) == anthropic]


def test_anthropic(page, named, capsys):
    pytest.importorskip("anthropic", reason="needs anthropic (extra test)")
    (block,) = python_blocks(page, anthropic=True)
    exec(block.replace("http://127.0.0.1:8000", named.url), {})
    assert re.search(r" (end_turn|max_tokens) \d+\n", capsys.readouterr().out)


def test_langchain(page, named, capsys):
    pytest.importorskip("langchain_openai", reason="needs langchain-openai (extra test)")
    (block,) = [block for block in python_blocks(page) if "langchain" in block]
    exec(block.replace("http://127.0.0.1:8000", named.url), {})
    assert len(capsys.readouterr().out) > 2


def test_ollama(page, named, capsys):
    pytest.importorskip("ollama", reason="needs ollama (extra test)")
    (block,) = [block for block in python_blocks(page) if "import ollama" in block]
    exec(block.replace("http://127.0.0.1:8000", named.url), {})
    assert len(capsys.readouterr().out) > 2


def test_python(page, named, capsys):
    names: dict[str, object] = {}
    for block in python_blocks(page):
        if "langchain" not in block and "import ollama" not in block:
            exec(block.replace("http://127.0.0.1:8000", named.url), names)
    told = capsys.readouterr().out
    assert "true 20" in told
    assert re.search(r"^[0-9a-f]{16}/\d", told, re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(page, named):
    (command,) = re.findall(r"^```\n(curl .*?)^```", page, re.MULTILINE | re.DOTALL)
    command = command.replace("http://127.0.0.1:8000", named.url)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE)
    assert '"object":"chat.completion"' in done.stdout


def test_every_option_of_the_unit_is_known(root):
    from typer.main import get_command

    from intact.cli.app import app

    known = {option for param in get_command(app).commands["serve"].params for option in param.opts}
    text = (root / "examples" / "server" / "intact.service").read_text()
    options = re.findall(r"--[a-z-]+", next(line for line in text.splitlines() if line.startswith("ExecStart")))
    assert len(options) >= 3
    assert set(options) <= known


@pytest.fixture
def unit(root):
    """The settings of the systemd unit's service."""
    parser = configparser.ConfigParser(strict=True, interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str
    parser.read_string((root / "examples" / "server" / "intact.service").read_text())
    return parser["Service"]


def test_the_unit_leaves_bubblewrap_what_it_needs(unit):
    """See systemd.exec(5); each of these makes bwrap fail, as its namespaces are made inside the service."""
    off = ("no", "false", "off", "0", "")
    for name in ("RestrictNamespaces", "ProtectKernelTunables", "ProtectHostname", "SystemCallFilter"):
        assert unit.get(name, "no").lower() in off, name
    assert unit.get("ProcSubset", "all") == "all"
    families = unit["RestrictAddressFamilies"].split()
    assert "AF_NETLINK" in families
    assert "~" not in families[0]


FAMILIES = """
import errno, socket, sys
import pyseccomp
from intact.tools.sandbox import run
allowed = [int(getattr(socket, name)) for name in sys.argv[1].split()]
rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
for family in set(range(46)) - set(allowed):
    rules.add_rule(pyseccomp.ERRNO(errno.EAFNOSUPPORT), "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
rules.load()
print(run("print(6 * 7)", using="bubblewrap").stdout)
"""


@pytest.mark.skipif(protection().kind != "bubblewrap" or not protection().filtered, reason="needs both protections")
def test_bubblewrap_works_under_the_address_families_of_the_unit(unit):
    """Restricted as systemd does it, by a filter on the system call; without AF_NETLINK it fails."""
    families = unit["RestrictAddressFamilies"]

    def told(families):
        done = subprocess.run([sys.executable, "-c", FAMILIES, families], capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    assert told(families) == "42"
    assert "NETLINK" in told(families.replace("AF_NETLINK", ""))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_unit(root, tmp_path):
    """But for the program, which is not installed here."""
    text = (root / "examples" / "server" / "intact.service").read_text()
    file = tmp_path / "intact.service"
    file.write_text(text.replace("/opt/intact/bin/intact", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


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
