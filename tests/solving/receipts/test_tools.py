"""Receipts of runs with tools: what a tool gave is computed again, and a forged result is named."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

import intact
from intact._base.errors import ReceiptError
from intact.cli.receipt import describe
from intact.cli.receipt_verifier import ReceiptLine
from intact.reason.budget import Budget
from intact.reason.tool import ToolResult, ToolUse
from intact.reason.tools.python import PythonTool
from intact.solving.receipts.claims import Claims
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import ToolEntry
from intact.solving.receipts.record import RunRecorder
from intact.solving.receipts.replay import driver_of, replay
from intact.solving.receipts.schema import schema
from intact.solving.receipts.sealed import LONGEST_RUN
from intact.solving.receipts.tools import verify_tools
from intact.solving.receipts.verdict import DecidedError
from intact.solving.receipts.verify import verify_run
from intact.tasks.score.scorers import find_scorer
from intact.tools.sandbox import protection
from support.run_forger import cover, judge
from support.tiny import write_tiny

pytestmark = pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
BLOCK = r"```python\nx = [0-9]{1,2}\nprint\(x \* 2\)\n```\n"
FAILING = r"```python\nprint\([0-9]{1,2}\)\n1 / 0\n```\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("models") / "m.gguf", context=2048), threads=1)


def solve(model, regex, **parameters):
    asked = {"n": 2, "rounds": 2, "seconds": 60.0, "max_tokens": 60, "temperature": 1.0, **parameters}
    result = intact.solve(model, "interleaved_code", "What is 2 + 2?", receipt=True, regex=regex, **asked)
    assert result.why == "done", result.error
    return result.receipt


@pytest.fixture(scope="module")
def receipt(model):
    return solve(model, BLOCK)


def uses(receipt):
    return [i for i, entry in enumerate(receipt.entries) if isinstance(entry, ToolEntry)]


def lie(receipt, **changes):
    """Return the entries with another first result of a tool, wherever the same call is made."""
    call = receipt.entries[uses(receipt)[0]].call
    return [replace(e, **changes) if getattr(e, "call", None) == call else e for e in receipt.entries]


def uncovered(receipt, entries):
    return RunReceipt.make(receipt.header, tuple(entries), receipt.result)


def test_the_truth_is_found_true(model, receipt):
    assert len(uses(receipt)) == 4
    first = receipt.entries[uses(receipt)[0]]
    assert (first.tool, first.ended, first.replayable) == ("python", "ok", True)
    assert receipt.header.sandbox is None
    assert receipt.result.cost.runs == 4
    verdict = verify_run(model, receipt)
    different = {receipt.entries[i].call for i in uses(receipt)}
    assert (verdict.outcome, verdict.programs, verdict.checked) == ("true", len(different), receipt.count)
    assert RunReceipt.parse(receipt.encode()) == receipt
    assert cover(model, receipt) == receipt


def test_a_run_whose_blocks_are_held_to_a_form_is_proved(model):
    held = solve(model, None, constrained=True, max_tokens=20)
    assert held.header.compiler.startswith("llguidance ")
    assert judge(model, held)[0] == "true"


def test_tools_are_shown_and_their_version_is_marked_as_unchecked(receipt):
    shown = describe(ReceiptLine(Path("x"), 1, 0, receipt))
    address = PythonTool().address({})
    assert shown["entries"]["tools"] == [{"name": "python", "version": address, "replayable": True, "results": 4}]
    assert "entries.tools.version" in shown["unchecked"]


def test_the_schema_knows_tools(receipt):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(receipt.to_document(), schema())


def test_a_forged_result_is_named_though_all_that_follows_fits(model):
    """Behind a block that failed too often no text follows, so that the liar needs no token of the model's."""
    honest = solve(model, FAILING, repairs=0)
    assert honest.entries[uses(honest)[0]].text.endswith("ZeroDivisionError: division by zero")
    assert judge(model, honest)[0] == "true"
    for changes in ({"text": "7\n"}, {"text": ""}, {"ended": "memory"}):
        false = cover(model, honest, lie(honest, **changes))
        assert false.entries != honest.entries
        assert judge(model, false) == ("false", "tool", uses(honest)[0], None)
        assert judge(model, false, winner=True)[:2] == ("false", "tool")


def test_who_claims_that_time_was_over_is_not_believed_nor_called_a_liar(model):
    honest = solve(model, FAILING, repairs=0)
    false = cover(model, honest, lie(honest, text="(out of time)", ended="time"))
    assert judge(model, false) == ("unverifiable", "tool", uses(honest)[0], None)


def test_a_lie_changes_what_the_method_asks_next(model, receipt):
    assert judge(model, uncovered(receipt, lie(receipt, text="7\n")))[:2] == ("false", "request")
    assert judge(model, cover(model, receipt, lie(receipt, text="7\n")))[0] == "false"
    for changes, what in (({"call": bytes(32)}, "missing"), ({"replayable": False}, "order")):
        assert judge(model, uncovered(receipt, lie(receipt, **changes)))[:2] == ("false", what)


def test_another_version_of_a_tool_may_give_something_else(model):
    honest = solve(model, FAILING, repairs=0)
    other = lie(honest, version=bytes(32))
    assert judge(model, uncovered(honest, other))[0] == "true"
    false = cover(model, honest, lie(honest, version=bytes(32), text="7\n"))
    index = uses(honest)[0]
    entries = [replace(e, version=bytes(32)) if isinstance(e, ToolEntry) else e for e in false.entries]
    assert judge(model, RunReceipt.make(false.header, tuple(entries), false.result)) == (
        "unverifiable", "tool", index, None,
    )  # fmt: skip


def test_every_different_call_is_made_once_more(model, receipt):
    """A lie in the last call is found as in the first, also behind results that nobody can repeat."""
    claims = replay({receipt.header.models[0].name: model}, receipt)
    assert verify_tools(claims).outcome == "true"
    *_, last = dict.fromkeys(receipt.entries[i].call for i in uses(receipt))
    index = next(i for i in uses(receipt) if receipt.entries[i].call == last)
    claims.used[last] = replace(claims.used[last], text="7\n")
    verdict = verify_tools(claims)
    assert (verdict.outcome, verdict.what, verdict.entry) == ("false", "tool", index)
    first = receipt.entries[uses(receipt)[0]].call
    assert first != last
    claims.calls[first] = claims.calls[first]._replace(tool=Elsewhere())
    assert verify_tools(claims).outcome == "false"


def test_a_tool_that_gives_something_else_each_time_calls_nobody_a_liar(model, receipt, monkeypatch):
    """It is used a second time where the first differs from what the entry says."""
    claims, used = replay({receipt.header.models[0].name: model}, receipt), []

    def use(self, values, stop, *, untrusted=False):
        used.append(untrusted)
        return ToolResult(f"{len(used) if changing else 0}", "ok")

    monkeypatch.setattr(PythonTool, "use", use)
    changing = False
    verdict = verify_tools(claims)
    assert (verdict.outcome, verdict.entry, used) == ("false", uses(receipt)[0], [True, True])
    used.clear()
    changing = True
    verdict = verify_tools(claims)
    assert (verdict.outcome, verdict.what) == ("unverifiable", "tool")
    assert verdict.detail.endswith("it gives something else each time")
    assert len(used) == 2 * len({receipt.entries[i].call for i in uses(receipt)})


@pytest.mark.parametrize("seconds", [60.0, 61.0])
def test_nobody_waits_for_a_tool_longer_than_a_receipt_may_ask_for(model, receipt, seconds):
    """The receipt has the result of the longer call, too: who replays it does not look there."""
    parameters = {**receipt.header.parameters, "seconds": seconds}
    services = driver_of({receipt.header.models[0].name: model}, Claims(receipt))[1]
    call = ToolUse(PythonTool(), {"code": "1", "seconds": seconds})
    if seconds <= LONGEST_RUN:
        with pytest.raises(DecidedError):  # there is no such entry
            services.known_result(call)
        return
    assert services.known_result(call) is None
    lie = RunReceipt.make(replace(receipt.header, parameters=parameters), receipt.entries, receipt.result)
    verdict = verify_run(model, lie)
    assert (verdict.outcome, verdict.what) == ("false", "method")
    assert "a tool may take at most 60 seconds, got 61" in verdict.detail


def test_without_a_sandbox_it_is_said_what_was_not_checked(model, receipt, monkeypatch):
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    verdict = verify_run(model, receipt)
    assert (verdict.outcome, verdict.what, verdict.programs) == ("unverifiable", "tool", 0)
    assert "no protection against untrusted code" in verdict.detail


def test_an_output_with_control_characters_is_no_entry(receipt):
    for text in ("\x1b[31m", "x" * 5000, "\u202e"):
        false = uncovered(receipt, lie(receipt, text=text))
        with pytest.raises(ReceiptError, match="none of them control characters"):
            RunReceipt.parse(false.encode())


def test_a_tool_of_another_package_and_a_long_one_cannot_be_part_of_a_receipt():
    class Foreign(PythonTool):
        name = "foreign"

    recorder = RunRecorder({}, Budget(), {}, find_scorer)
    with pytest.raises(intact.ParameterError, match="not part of this package"):
        recorder.use(ToolUse(Foreign(), {"code": "1"}), Event())
    with pytest.raises(intact.ParameterError, match="at most 60 seconds, got 61"):
        recorder.use(ToolUse(PythonTool(), {"code": "1", "seconds": 61.0}), Event())


class Elsewhere(PythonTool):
    """Stands for a tool of a server: it gives something else each time."""

    name = "mcp:server/run"
    replayable = False

    def __init__(self):
        self.calls = 0

    def use(self, values, stop, *, untrusted=False):
        self.calls += 1
        return ToolResult(f"result {self.calls}", "ok")


def test_results_that_nobody_can_repeat_are_recorded_and_the_verdict_says_so(model):
    tool = Elsewhere()
    asked = {"n": 2, "rounds": 1, "regex": BLOCK, "max_tokens": 60, "temperature": 1.0, "tool": tool.name}
    result = intact.solve(model, "interleaved_code", "What is 2 + 2?", receipt=True, tools={tool.name: tool}, **asked)
    assert result.why == "done", result.error
    receipt = RunReceipt.parse(result.receipt.encode())
    assert [receipt.entries[i].replayable for i in uses(receipt)] == [False, False]
    assert len({receipt.entries[i].call for i in uses(receipt)}) == 2
    verdict = verify_run(model, receipt)
    assert (verdict.outcome, verdict.checked, verdict.programs) == ("partial", receipt.count, 0)
    assert verdict.detail == "2 results of mcp:server/run are recorded; nobody can repeat them"
    assert tool.calls == 2
    false = lie(receipt, text="another result")
    assert judge(model, uncovered(receipt, false))[:2] == ("false", "request")
