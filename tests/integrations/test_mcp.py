"""The MCP server, by the official client over standard input and output."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

mcp = pytest.importorskip("mcp", reason="needs mcp (extra mcp)")
from mcp import Client, StdioServerParameters, stdio_client  # noqa: E402

import intact  # noqa: E402
from intact.integrations.mcp import MOST_RUNS, McpLimits, make_server  # noqa: E402
from intact.receipts.document import read_any  # noqa: E402
from intact.solving.receipts import PARSERS  # noqa: E402
from intact.solving.receipts.verify import verify_run  # noqa: E402

QUESTION = "What is 17 * 23?"
ASKED = {"question": QUESTION, "parameters": {"n": 3, "max_tokens": 12}, "seed": 4}
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "INTACT_THREADS": "1", "PATH": os.environ["PATH"]}


def by_stdio(path, *options):
    command = ["-m", "intact", "mcp", "--model", str(path), *options]
    return stdio_client(StdioServerParameters(command=sys.executable, args=command, env=ENVIRONMENT))


def talk(server, conversation):
    """Run a conversation with a server in this process, through the official client."""

    async def run():
        async with Client(server) as client:
            return await conversation(client)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def model(tiny_path):
    return intact.load(tiny_path)


def test_an_assistant_solves_verifies_and_looks_at_the_tree(tiny_path, model):
    async def conversation():
        async with Client(by_stdio(tiny_path)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            solved = await client.call_tool("solve", ASKED | {"receipt": True})
            again = await client.call_tool("solve", ASKED | {"receipt": True})
            receipt = solved.structured_content["receipt"]
            verified = await client.call_tool("verify", {"receipt": receipt})
            text = await client.call_tool("verify", {"receipt": json.dumps(receipt)})
            tree = await client.call_tool("search_tree", {"run": "run-1"})
            return client.server_info, names, solved, again, verified, text, tree

    info, names, solved, again, verified, text, tree = asyncio.run(conversation())
    assert (info.name, info.version) == ("intact", intact.__version__)
    assert names == ["solve", "verify", "search_tree", "meter"]
    wanted = intact.solve(model, "self_consistency", QUESTION, n=3, max_tokens=12, seed=4)
    found = solved.structured_content
    assert (found["answer"], found["votes"], found["why"]) == (wanted.answer.answer, dict(wanted.answer.votes), "done")
    assert found["receipt"] == again.structured_content["receipt"]
    receipt = read_any(
        json.dumps(found["receipt"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(), PARSERS
    )
    assert verify_run(model, receipt).outcome == "true"
    assert verified.structured_content["outcome"] == "true"
    assert text.structured_content["outcome"] in ("true", "unverifiable")  # json.dumps need not be canonical
    assert tree.content[0].text.startswith("self_consistency → ")
    assert tree.content[0].text.count("12 tokens") == 3


def test_a_forged_receipt_is_false_and_nonsense_unverifiable(model):
    async def conversation(client):
        receipt = (await client.call_tool("solve", ASKED | {"receipt": True})).structured_content["receipt"]
        forged = json.loads(json.dumps(receipt).replace('"seed": "4"', '"seed": "5"'))
        assert forged != receipt
        found = await client.call_tool("verify", {"receipt": forged})
        nonsense = await client.call_tool("verify", {"receipt": "[1, 2"})
        return found.structured_content, nonsense.structured_content

    forged, nonsense = talk(make_server(lambda: model), conversation)
    assert forged["outcome"] == "false"
    assert nonsense["outcome"] == "unverifiable"


def test_mistakes_are_errors_of_the_tool(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit")

    async def conversation(client):
        asked = [
            ("solve", {"question": QUESTION, "method": "no_such_method"}, "no_such_method"),
            ("solve", {"question": QUESTION, "method": "mine.py:f"}, "name of a method"),
            ("solve", {"question": QUESTION, "parameters": {"n": 0}}, "n "),
            ("solve", {"question": QUESTION, "parameters": {"journal": str(tmp_path)}}, "journal cannot be set"),
            ("solve", {"question": ""}, "question"),
            ("solve", {"question": "a" * 70_000}, "question"),
            ("search_tree", {"run": "run-9"}, "no run 'run-9'"),
            ("meter", {"url": "http://127.0.0.1:1"}, "may not be metered"),
            ("meter", {"url": "file:///etc/passwd"}, "must be http"),
        ]
        for tool, arguments, message in asked:
            found = await client.call_tool(tool, arguments)
            assert found.is_error, arguments
            assert message in found.content[0].text

    talk(make_server(lambda: model), conversation)


def test_calls_are_limited(model):
    async def conversation(client):
        spent = await client.call_tool("solve", {"question": QUESTION, "parameters": {"n": 8, "max_tokens": 30}})
        assert spent.structured_content["why"] == "spent"
        assert spent.structured_content["cost"]["tokens"] <= 40
        for _ in range(MOST_RUNS):
            last = await client.call_tool("solve", ASKED | {"parameters": {"n": 1, "max_tokens": 2}})
        assert last.structured_content["run"] == f"run-{MOST_RUNS + 1}"
        assert (await client.call_tool("search_tree", {"run": "run-1"})).is_error
        tree = await client.call_tool("search_tree", {"run": "run-2", "as_json": True})
        assert json.loads(tree.content[0].text)["method"] == "self_consistency"

    talk(make_server(lambda: model, limits=McpLimits(tokens=40)), conversation)


def test_an_endpoint_is_metered(server, tiny_path):
    async def conversation():
        async with Client(by_stdio(tiny_path, "--endpoint", server.url, "--max-requests", "30")) as client:
            arguments = {"url": server.url, "model": "tiny", "probes": 1, "tokens": 4, "company": [2]}
            return await client.call_tool("meter", arguments)

    found = asyncio.run(conversation())
    assert not found.is_error, found.content
    assert found.structured_content["verdict"].startswith("No answer changed: 0 of ")
    assert found.structured_content["used"]["requests"] <= 30


def test_a_message_that_is_too_long_ends_the_server(tiny_path):
    command = [sys.executable, "-m", "intact", "mcp", "--model", str(tiny_path)]
    ended = subprocess.run(
        command, input=b"a" * ((1 << 24) + 2) + b"\n", env=ENVIRONMENT, capture_output=True, check=False
    )
    assert ended.returncode != 0
    assert b"more than 16,777,216 bytes" in ended.stderr
    assert ended.stdout == b""
