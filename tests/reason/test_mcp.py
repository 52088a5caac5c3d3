"""Tools of MCP servers, with a real server: their results are recorded, and a server that dies is a plain error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from intact._base.errors import NotInstalledError, ParameterError, ToolError
from intact.reason import Answer, Extend, Problem, Result, Steps, Use, method
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.mcp import McpServer
from intact.reason.testing.toy import MarkovBackend
from intact.reason.tools.python import PythonTool

SCRIPT = Path(__file__).parents[1] / "support" / "mcp_server.py"
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def server() -> Iterator[McpServer]:
    pytest.importorskip("mcp")
    with McpServer("counting", [sys.executable, str(SCRIPT)], environment=ENVIRONMENT) as server:
        yield server


@method("a test", temperature=1.0)
def adding(problem: Problem, *, last: str = "add", uses: int = 2) -> Steps:
    """Add by a server, several times."""
    told = []
    for _ in range(uses):
        result = yield Use("mcp:counting/add", {"a": 1, "b": 2})
        told.append(result.text)
    state = yield Extend(problem.start, max_tokens=1)
    if last != "add":
        yield Use(f"mcp:counting/{last}", {})
    return Answer(", ".join(told), chosen=state)


def run(server: McpServer, journal: Journal | None = None, **parameters: Any) -> Result:
    driver = Driver({"toy": MarkovBackend()}, services=Services(tools=server.tools), journal=journal)
    ((_, result),) = driver.solve([MethodJob(adding, Problem("p", "?"), parameters)])
    return result


def test_a_server_states_its_tools_and_they_give_text_without_control_characters(server: McpServer) -> None:
    assert server.stated == "counting 1.5"
    assert set(server.tools) == {f"mcp:counting/{name}" for name in ("add", "fail", "sleep", "die")}
    add = server.tools["mcp:counting/add"]
    assert (add.line, add.replayable) == ("Add two numbers, and count the calls.", False)
    assert add.use(add.check({"a": 40, "b": 2}), Event()).text == "42 by call 1\\x1b[31m"
    failed = server.tools["mcp:counting/fail"].use({"why": "so"}, Event())
    assert failed.ended == "error"


def test_inputs_are_held_against_the_schema_of_the_server(server: McpServer) -> None:
    add = server.tools["mcp:counting/add"]
    for values, error in (
        ({"a": 1}, "'b' is a required property"),
        ({"a": 1, "b": "x"}, "'x' is not of type 'integer'"),
    ):
        with pytest.raises(ParameterError, match=error):
            add.check(values)


def test_a_call_is_ended_when_time_is_over(server: McpServer) -> None:
    stop = Event()
    timer = Timer(0.3, stop.set)
    timer.start()
    result = server.tools["mcp:counting/sleep"].use({"seconds": 600.0}, stop)
    timer.join()
    assert (result.ended, result.settled) == ("time", False)


def test_results_are_recorded_and_a_run_that_goes_on_has_them_again(server: McpServer, tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        first = run(server, journal)
    assert first.answer.answer == "3 by call 1\\x1b[31m, 3 by call 2\\x1b[31m"
    assert [node["replayable"] for node in first.trace["nodes"] if node["kind"] == "tool"] == [False, False]
    with Journal(tmp_path / "j.sqlite") as journal:
        again = run(server, journal)
        more = run(server, journal, uses=3)
    assert again.trace == first.trace
    assert more.answer.answer == f"{first.answer.answer}, 3 by call 3\\x1b[31m"


def test_a_server_that_dies_in_the_middle_is_a_plain_error(server: McpServer) -> None:
    result = run(server, last="die")
    assert result.why == "failed"
    assert result.error.startswith("ToolError: the MCP server counting failed in a call to die")
    assert "\n" not in result.error
    assert run(server).error.startswith("ToolError: the MCP server counting failed in a call to add")


@pytest.mark.parametrize("command", [["/nonexistent"], ["true"], ["sh", "-c", "echo nonsense"]])
def test_a_command_that_is_no_server_is_named(command: list[str]) -> None:
    pytest.importorskip("mcp")
    with pytest.raises(ToolError, match="the MCP server wrong does not start"), McpServer("wrong", command):
        pytest.fail("it started")


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intact._base.packages._importable", lambda _: False)
    with pytest.raises(NotInstalledError, match="tools of MCP servers needs mcp: pip install"):
        McpServer("name", ["true"])


def test_no_tool_of_ones_own_takes_the_name_of_another() -> None:
    with pytest.raises(ParameterError, match="there already is a tool named 'python'"):
        Services(tools={"python": PythonTool()})
    with pytest.raises(ParameterError, match="is listed under the name 'other'"):
        Services(tools={"other": PythonTool()})
