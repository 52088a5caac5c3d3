"""Tools: declared inputs, bounded and harmless outputs, the state of a session, and their place among requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.reason import Answer, Extend, Problem, Result, Steps, Use, method
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.testing.toy import MarkovBackend
from intact.reason.tool import LONGEST_OUTPUT, MethodTool, ToolInput, ToolResult, clean
from intact.reason.tools import TOOLS, find_tool
from intact.tools.prove.provers import find_prover
from intact.tools.sandbox import protection

sandboxed = pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")


def python(code: str, *before: str, **more: Any) -> ToolResult:
    tool = find_tool("python")
    return tool.use(tool.check({"code": code, "before": list(before), **more}), Event(), untrusted=True)


class Counter(MethodTool):
    """Gives another number each time."""

    name = "counter"
    line = "Count the calls."
    inputs: Mapping[str, ToolInput] = {"word": ToolInput("text", "A word.", "n")}
    output = "The word and a number."
    replayable = False

    def __init__(self) -> None:
        self.calls = 0

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        self.calls += 1
        return ToolResult(f"{values['word']}{self.calls}", "ok")


@method("a test", temperature=1.0)
def asking(problem: Problem, *, tool: str = "python", uses: int = 2) -> Steps:
    """Use a tool several times, then write a letter."""
    told = []
    for number in range(uses):
        values = {"code": f"n + {number}", "before": ["n = 40"]} if tool == "python" else {"word": "w"}
        result = yield Use(tool, values)
        told.append(result.text.strip())
    state = yield Extend(problem.start, max_tokens=1)
    return Answer(" ".join(told), chosen=state)


def run(
    services: Services | None = None, journal: Journal | None = None, budget: Budget | None = None, **parameters: Any
) -> Result:
    driver = Driver({"toy": MarkovBackend()}, services=services, journal=journal, budget=budget)
    ((_, result),) = driver.solve([MethodJob(asking, Problem("p", "?"), parameters)])
    return result


@given(st.text(st.characters(), max_size=60), st.integers(100, 200), st.integers(1, 8))
def test_what_a_tool_gives_controls_nothing_and_is_bounded(text: str, most: int, times: int) -> None:
    shown = clean(text * times, most)
    assert len(shown) <= most
    assert not [
        c for c in shown if c not in "\n\t" and (ord(c) < 32 or 127 <= ord(c) < 160 or 0x202A <= ord(c) <= 0x202E)
    ]
    assert clean(shown, most) == shown


def test_escapes_are_those_of_python_and_the_middle_of_a_long_text_is_left_out() -> None:
    assert clean("a\x1b[31mred\x07\r\nb\u202ec\ud800\U000e0041é\t") == (
        "a\\x1b[31mred\\x07\nb\\u202ec\\ud800\\U000e0041é\t"
    )
    shown = clean("x" * 5000 + "y" * 5000)
    assert len(shown) == LONGEST_OUTPUT
    assert "10,000 characters in all" in shown
    assert (shown[0], shown[-1]) == ("x", "y")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({}, "needs the input code: The cell."),
        ({"code": 3}, "code must be a string, got 3"),
        ({"code": "1", "befor": []}, "no input 'befor': did you mean before?"),
        ({"code": "1", "before": "x = 1"}, "before must be a list of strings"),
        ({"code": "1", "before": [1]}, "before must be a list of strings"),
        ({"code": "1", "seconds": 0}, "seconds must be a positive number, got 0"),
        ({"code": "1", "seconds": True}, "seconds must be a positive number, got True"),
        ({"code": "1" * 65_537}, "at most 65,536 characters"),
    ],
)
def test_wrong_inputs_are_named_before_the_work(values: dict[str, Any], error: str) -> None:
    with pytest.raises(ParameterError, match=error):
        find_tool("python").check(values)


def test_an_unknown_tool_is_named_before_a_token_is_written() -> None:
    with pytest.raises(ParameterError, match="no tool named 'pyton': did you mean python"):
        find_tool("pyton")
    result = run(tool="pyton")
    assert (result.why, result.cost.tokens) == ("failed", 0)
    assert "did you mean python" in result.error


def test_every_tool_says_what_it_takes_and_gives() -> None:
    for name, kind in TOOLS.own.items():
        tool = kind()
        assert tool.name == name
        for text in (tool.line, tool.output, *(one.help for one in tool.inputs.values())):
            assert text.endswith(".")


@sandboxed
def test_a_session_keeps_its_state_and_repeats_no_output() -> None:
    first = "import math\nx = 3\nprint('noise')"
    assert python("x + 1", first) == ToolResult("4\n", "ok")
    assert python("print(x)\nNone", first).text == "3\n"
    assert python("x", first, "def double():\n    global x\n    x *= 2", "double()\ndouble()").text == "12\n"
    assert python("import os\nos.write(1, b'mine')", "import os\nos.write(1, b'earlier')").text == "mine4\n"


@sandboxed
def test_what_a_cell_did_before_it_failed_stays() -> None:
    result = python("y", "y = 1\n1 / 0\ny = 2")
    assert result == ToolResult("1\n", "ok")
    assert python("z", "raise SystemExit", "z = 5").text == "5\n"
    assert python("y = 1\n1 / 0") == ToolResult("ZeroDivisionError: division by zero", "error")
    assert python("print('a')\nfoo(", "y = 1").text.splitlines()[-1].startswith("SyntaxError")


@sandboxed
def test_limits_are_for_all_cells_together() -> None:
    # 8,192 steps for the text under each of 196 names: 1.6 of 4 million, in a hundredth of the time
    cell = " = ".join([f"x{i}" for i in range(196)]) + " = 'x' * (1 << 26)"
    assert python("1", cell, cell, seconds=4).text == "1\n"
    assert python("1", cell, cell, cell, seconds=4) == ToolResult("(out of steps)", "steps")
    assert python("x = 1 << (1 << 24)", seconds=20).ended == "steps"
    assert python("import time\ntime.sleep(60)", seconds=0.5) == ToolResult("(out of time)", "time", False)
    flood = python("print('x' * (1 << 21))")
    assert flood.ended == "output"
    assert len(flood.text) <= LONGEST_OUTPUT


@sandboxed
def test_a_cell_reaches_neither_files_nor_network() -> None:
    assert python("open('/etc/passwd')").ended == "error"
    assert python(f"open({str(Path(__file__))!r})").ended == "error"
    assert python("import socket\nsocket.socket()").ended == "error"


@sandboxed
def test_the_address_names_what_a_result_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = find_tool("python")
    address = tool.address({})
    assert len(address) == 64
    monkeypatch.setattr("platform.python_version", lambda: "2.7")
    assert tool.address({}) != address


@sandboxed
def test_a_use_is_in_the_trace_and_costs_a_run() -> None:
    result = run(uses=3)
    assert (result.answer.answer, result.cost.runs) == ("40 41 42", 3)
    nodes = [node for node in result.trace["nodes"] if node["kind"] == "tool"]
    assert [node["text"] for node in nodes] == ["40\n", "41\n", "42\n"]
    assert nodes[0]["values"] == {"code": "n + 0", "before": ["n = 40"], "seconds": 10.0}
    assert nodes[0]["version"] == find_tool("python").address({})
    assert nodes[0]["replayable"] is True


@sandboxed
def test_a_budget_of_runs_is_never_exceeded() -> None:
    spent = run(uses=3, budget=Budget(runs=2))
    assert (spent.why, spent.cost.runs) == ("spent", 2)
    assert run(uses=3, budget=Budget(runs=3)).why == "done"


@sandboxed
def test_a_cap_in_seconds_ends_a_tool_in_the_middle() -> None:
    @method("a test")
    def sleeping(problem: Problem) -> Steps:
        """Sleep in a tool."""
        result = yield Use("python", {"code": "import time\ntime.sleep(100)", "seconds": 100})
        return Answer(result.ended)

    driver = Driver({"toy": MarkovBackend()}, budget=Budget(seconds=1))
    ((_, result),) = driver.solve([MethodJob(sleeping, Problem("p", "?"), {})])
    assert (result.why, result.answer.answer) == ("spent", "time")


@sandboxed
def test_a_journal_gives_results_again_without_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        first = run(journal=journal)
    monkeypatch.setattr("intact.tools.sandbox.run_cells", lambda *_, **__: pytest.fail("used again"))
    with Journal(tmp_path / "j.sqlite") as journal:
        again = run(journal=journal)
    assert again.trace == first.trace


def test_results_that_nobody_can_repeat_are_recorded_each_by_its_place(tmp_path: Path) -> None:
    counter = Counter()
    with Journal(tmp_path / "j.sqlite") as journal:
        first = run(Services(tools={"counter": counter}), journal, tool="counter", uses=3)
    assert first.answer.answer == "w1 w2 w3"
    nodes = [node for node in first.trace["nodes"] if node["kind"] == "tool"]
    assert [node["replayable"] for node in nodes] == [False] * 3
    assert len({node["place"] for node in nodes}) == 3
    with Journal(tmp_path / "j.sqlite") as journal:
        again = run(Services(tools={"counter": counter}), journal, tool="counter", uses=4)
    assert again.answer.answer == "w1 w2 w3 w4"
    assert counter.calls == 4


def use(name: str, **values: Any) -> ToolResult:
    tool = find_tool(name)
    return tool.use(tool.check(values), Event(), untrusted=True)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1/3 + 1/6", "1/2"),
        ("0.1 + 0.2", "3/10"),
        ("2^10 - 2**10", "0"),
        ("7 // 2 * 10 + 7 % 4", "33"),
        ("sqrt(48)", "4*sqrt(3)"),
        ("solve(x^2 - 5*x + 6, x)", "[2, 3]"),
        ("factor(x^2 + 2*x + 1)", "(x + 1)**2"),
        ("diff(x^3, x)", "3*x**2"),
        ("integrate(2*x, [x, 0, 3])", "9"),
        ("sum(k, k, 1, 100)", "5050"),
        ("factorint(84)", "{2: 2, 3: 1, 7: 1}"),
        ("N(pi, 10)", "3.141592654"),
        ("2 < 3", "True"),
        ("[1 + 1, abs(-3)]", "[2, 3]"),
    ],
)
def test_the_calculator_is_exact(expression: str, value: str) -> None:
    pytest.importorskip("sympy")
    assert use("calculator", expression=expression) == ToolResult(value, "ok")


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("2 +", "SyntaxError"),
        ("__import__('os').system('true')", "no part of an expression|no function"),
        ("().__class__", "no part of an expression"),
        ("(lambda: 1)()", "no part of an expression"),
        ("eval('1')", "there is no function eval"),
        ("'a' * 3", "no part of an expression"),
        ("9^9^9", "too large"),
        ("factorial(10^6)", "too large"),
        ("N(pi, 10^6)", "1 to 1,000 digits"),
        ("1" * 2001, "may have 2,000 characters"),
        ("(" * 500 + ")" * 500, "Error"),
    ],
)
def test_the_calculator_says_what_is_wrong_and_evaluates_no_python(expression: str, error: str) -> None:
    pytest.importorskip("sympy")
    result = use("calculator", expression=expression)
    assert result.ended == "error"
    assert re.search(error, result.text)


def test_the_calculator_ends_what_takes_too_long_and_goes_on() -> None:
    pytest.importorskip("sympy")
    result = use("calculator", expression="factorint(2^1021 - 1 + 3^640)", seconds=0.5)
    assert (result.ended, result.settled) == ("time", False)
    assert use("calculator", expression="1 + 1").text == "2"


THEORY = "fof(a, axiom, ![X]: (dog(X) => barks(X))). fof(b, axiom, dog(rex)). fof(c, conjecture, {}(rex))."


@pytest.mark.parametrize("prover", ["intact", "e"])
def test_a_prover_gives_its_status(prover: str) -> None:
    if find_prover(prover).missing() is not None:
        pytest.skip(f"{prover} is not installed")
    if prover != "intact" and protection().kind != "bubblewrap":
        pytest.skip("nothing here confines a prover")
    for predicate, status in (("barks", "Theorem"), ("sleeps", "CounterSatisfiable")):
        result = use("prover", problem=THEORY.format(predicate), prover=prover)
        assert (result.text.splitlines()[0], result.ended) == (status, "ok")


def test_a_prover_says_what_is_wrong() -> None:
    assert use("prover", problem="fof(a, axiom, p(").ended == "error"
    with pytest.raises(ParameterError, match="no prover named 'vampire'"):
        use("prover", problem=THEORY, prover="vampire")
    limited = use("prover", problem=THEORY.format("barks"), steps=1)
    assert (limited.text.splitlines()[0], limited.settled) == ("GaveUp", True)


def test_a_tool_without_a_use_is_none() -> None:
    class Useless(MethodTool):
        name = "useless"

    with pytest.raises(TypeError, match="abstract"):
        Useless()  # type: ignore[abstract]
