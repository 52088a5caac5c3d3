"""Proof search, sketches and repair on scripted models, judged by Rocq and by the checker of Metamath."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

import intact
from intact._base.errors import ParameterError
from intact.reason import Problem, Result, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob
from intact.reason.problem import whole_text
from intact.reason.testing.checks import Stopped
from intact.reason.testing.small import PROVABLE
from intact.reason.tools import find_tool
from intact.solving.receipts.entries import ToolEntry
from intact.solving.receipts.verify import verify_run
from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.sandbox import protection
from support.run_forger import cover, judge
from support.script import Reply, ScriptBackend
from support.tiny import write_tiny

ROCQ = find_assistant("rocq")
rocq = pytest.mark.skipif(
    ROCQ.missing() is not None or protection().kind != "bubblewrap", reason=ROCQ.missing() or "needs bubblewrap"
)
BOTH = "Theorem both : forall A B : Prop, A -> B -> B /\\ A."
SQUARES = """\
Require Import Reals Lia Lra Psatz.
Open Scope R_scope.
Theorem squares : forall x y : R, x * x + y * y >= 2 * x * y."""
LEMMAS = """\
$c |- a b c d $.
one $a |- a $.
${ two.1 $e |- a $. two $a |- b $. $}
${ three.1 $e |- b $. three $a |- c $. $}
goal $p |- c $= ? $.
"""


def solve(
    method: str,
    reply: Reply,
    statement: str,
    budget: Budget | None = None,
    journal: Journal | None = None,
    **given: Any,
) -> tuple[Result, ScriptBackend]:
    """Run a method on a model that replies as a function says."""
    backend = ScriptBackend(reply)
    problem = Problem("p0", f"Prove it.\n```\n{statement}\n```\nBe brief.", whole_text)
    driver = Driver({"main": backend}, budget=budget, journal=journal, sampling={"max_tokens": 400})
    ((_, result),) = driver.solve([MethodJob(find(method), problem, given)])
    assert result.why in ("done", "spent"), result.error
    return result, backend


def scripted(*replies: tuple[str, str]) -> Reply:
    """Reply by the first pattern that the prompt matches; `|` separates what siblings write."""

    def reply(prompt: str, written: str, number: int) -> str:
        for pattern, texts in replies:
            if re.search(pattern, prompt, re.DOTALL):
                parts = texts.split("|")
                return parts[number % len(parts)] + "\n```"
        return "idtac\n```"

    return reply


def accepted(statement: str, proof: str) -> bool:
    """If true, a run of its own proves the statement by the answer."""
    return ROCQ.run(statement, (proof,), AssistantLimits(60)).kind == "proved"


@rocq
def test_search_finds_a_proof_through_states_that_rocq_shows() -> None:
    reply = scripted(
        (r"left to prove:\n=+\nforall", "nonsense|intros A B HA HB|admit"),
        (r"left to prove:\n[^=]*=+\nB /\\ A\n", "split|left|idtac"),
        (r"left to prove:\n[^=]*=+\n[AB]\n", "assumption|exact nothing|idtac"),
    )
    result, _ = solve("proof_search", reply, BOTH, n=3)
    assert result.answer.answer is not None
    assert accepted(BOTH, result.answer.answer)
    assert result.answer.answer.startswith("intros A B HA HB.\nsplit.\n")
    assert result.answer.details["failed"] >= 2
    nodes = [node for node in result.trace["nodes"] if node["kind"] == "tool"]
    assert {node["tool"] for node in nodes} == {"proof"}
    assert nodes[-1]["text"].startswith("proved")


@rocq
def test_a_state_that_is_known_is_expanded_once_and_a_hole_is_no_proof() -> None:
    result, backend = solve("proof_search", scripted((".", "idtac|admit|fail")), BOTH, n=3, steps=5)
    assert result.answer.answer is None
    assert result.answer.details == {
        "expanded": 1, "tried": 3, "failed": 2, "known": 1, "message": "",
        "failures": {"failed tactic": 1, "forbidden": 1},
    }  # fmt: skip
    assert len(backend.asked) == 3


@pytest.mark.parametrize(
    ("perspectives", "first"),
    [("likely", "one"), ("short", "one"), ("few", "one"), ("likely,short", "one")],
)
def test_search_proves_what_takes_several_steps(perspectives: str, first: str) -> None:
    reply = scripted(
        (r"stack: \|- b", "three|one"), (r"stack: \|- a", "two|three"), (".", "one|nothing"),
    )  # fmt: skip
    result, _ = solve("proof_search", reply, LEMMAS, assistant="metamath", n=2, perspectives=perspectives)
    assert result.answer.answer == f"{first}\ntwo\nthree"


def test_the_likeliest_state_goes_first() -> None:
    """Each letter costs 1 nat: the state behind the shorter tactic is expanded before the one behind the longer."""
    database = "$c |- a b c $. x $a |- a $. longer $a |- b $. ${ y.1 $e |- b $. y $a |- c $. $}\n"
    database += "goal $p |- c $= ? $.\n"
    reply = scripted((r"stack: \|- b\n", "y"), (r"stack: \|- a\n", "x x"), (".", "longer|x"))
    result, backend = solve("proof_search", reply, database, assistant="metamath", n=2)
    expanded = [re.findall(r"stack: .*", prompt) for prompt in backend.asked]
    assert expanded[2] == ["stack: |- a"]
    assert result.answer.answer == "longer\ny"


def test_a_statement_that_is_none_is_said_so() -> None:
    for method in ("proof_search", "draft_sketch_prove", "proof_repair"):
        result, backend = solve(method, scripted(), "$c", assistant="metamath")
        assert (result.answer.answer, backend.asked) == (None, [])
        assert "does not end" in result.answer.details["message"]


def test_each_failed_attempt_has_a_label() -> None:
    """A search, a sketch and a proof that fail say why; a method whose budget ends says so beside it."""
    wrong, given = scripted((".", "two|nothing")), {"assistant": "metamath", "n": 2}
    searched, _ = solve("proof_search", wrong, LEMMAS, **given)
    assert searched.answer.details["failures"] == {"unknown name": 1, "failed tactic": 1}
    for method in ("draft_sketch_prove", "proof_repair"):
        result, _ = solve(method, wrong, LEMMAS, rounds=0, **given)
        assert sum(result.answer.details["failures"].values()) >= 2, method
    short, _ = solve("proof_search", wrong, LEMMAS, Budget(runs=2), **given)
    assert short.answer.details["failures"]["budget"] == 1
    capped, _ = solve("proof_search", scripted((".", "one")), LEMMAS, steps=1, **given)
    assert capped.answer.details["failures"] == {"budget": 1}


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("perspectives", "best", "perspectives must be one of likely, short, few, got 'best'"),
        ("perspectives", " , ", "perspectives must name one of"),
        ("assistant", "coq", "assistant must be one of rocq, metamath, lean"),
    ],
)
def test_unknown_perspectives_and_assistants_are_refused(name: str, value: str, error: str) -> None:
    (declared,) = [one for one in find("proof_search").parameters if one.name == name]
    with pytest.raises(ParameterError, match=error):
        declared.read(value)


@rocq
def test_a_sketch_loses_what_fails_and_its_gaps_are_closed_by_automation() -> None:
    sketch = """\
intros x y.
assert (h : forall z : R, z * z >= 0).
{ apply no_such_lemma. }
specialize (h (x - y)).
assert (k : x * x + y * y - 2 * x * y >= 0).
{ replace (x * x) with (y * z) by ring. exact h. }
lra."""
    reply = scripted((r"Prove it in words", "1. (x - y)^2 >= 0."), (r"proof in words:\n\n1\. \(x - y\)", sketch))
    result, _ = solve("draft_sketch_prove", reply, SQUARES, n=1, rounds=0)
    assert result.answer.answer is not None
    assert accepted(SQUARES, result.answer.answer)
    assert result.answer.answer.count("solve [") == 2
    assert "no_such_lemma" not in result.answer.answer


@rocq
def test_a_gap_that_no_automation_closes_is_asked_for() -> None:
    reply = scripted(
        (r"in words\.? number|Prove it in words", "Easy."),
        (r"proof in words:", "intros A B HA HB. split. - admit. - exact HA."),
        (r"proves? the first goal|first goal", "nonsense|exact HB"),
    )
    result, backend = solve("draft_sketch_prove", reply, BOTH, n=1, tries=2, automation="fail")
    assert result.answer.answer is not None
    assert accepted(BOTH, result.answer.answer)
    assert "{\nexact HB.\n}" in result.answer.answer
    assert "HB : B" in backend.asked[-1]


@rocq
def test_repair_keeps_what_stands_and_closes_the_rest() -> None:
    reply = scripted((r"Write the tactics of its proof, without", "intros A B HA HB. split. - exact HA. - exact HA."))
    result, backend = solve("proof_repair", reply, BOTH, n=1, rounds=0, automation="assumption")
    assert result.answer.answer == "intros A B HA HB.\nsplit.\n-\nassumption.\n-\nexact HA."
    assert accepted(BOTH, result.answer.answer)
    assert len(backend.asked) == 1
    whole, _ = solve("proof_repair", scripted((".", "nonsense|intros; split; assumption.")), BOTH, n=2)
    assert whole.answer.answer == "intros; split; assumption."


@rocq
def test_a_proof_of_which_nothing_stands_is_written_again_with_the_message() -> None:
    reply = scripted((r"nonsense.*says:\n.*not found", "tauto."), (".", "nonsense."))
    result, backend = solve("proof_repair", reply, BOTH, n=1, rounds=0, automation="fail")
    assert result.answer.answer == "tauto."
    assert "The reference nonsense was not found" in backend.asked[-1]


METHODS = ["proof_search", "draft_sketch_prove", "proof_repair"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("premises", [0, 2])
def test_a_search_that_was_killed_goes_on_from_its_journal(method: str, premises: int, tmp_path: Any) -> None:
    reply = scripted((r"stack: \|- b", "one|three"), (r"stack: \|- a", "three|two"), (".", "nothing|one"))
    given: dict[str, Any] = {"assistant": "metamath", "n": 2, "premises": premises}
    whole, backend = solve(method, reply, LEMMAS, **given)
    for left in range(1, len(backend.asked)):
        kept = iter(range(left))

        def killed(prompt: str, written: str, number: int, kept: Iterator[int] = kept) -> str:
            if next(kept, None) is None:
                raise Stopped
            return reply(prompt, written, number)

        path = tmp_path / f"{left}.sqlite"
        with Journal(path) as journal, pytest.raises(Stopped):
            solve(method, killed, LEMMAS, journal=journal, **given)
        with Journal(path) as journal:
            again, after = solve(method, reply, LEMMAS, journal=journal, **given)
        assert again.answer == whole.answer
        assert len(after.asked) <= len(backend.asked)


@pytest.mark.parametrize("method", METHODS)
def test_premises_stand_before_the_model_where_they_are_wanted(method: str) -> None:
    """Those nearest to the goal, by a use of the tool; without them the prompt is what it was."""
    reply, given = scripted((".", "nothing")), {"assistant": "metamath", "n": 1}
    without, plain = solve(method, reply, LEMMAS, **given)
    result, shown = solve(method, reply, LEMMAS, premises=1, **given)
    part = "\nStatements of the library that may help:\nthree : |- b => |- c\n"
    assert any(part in prompt for prompt in shown.asked)
    assert [prompt.replace(part, "") for prompt in shown.asked] == plain.asked
    tools = {node["tool"] for node in result.trace["nodes"] if node["kind"] == "tool"}
    assert (tools, "premises" in str(without.trace["nodes"])) == ({"premises", "proof"}, False)


@pytest.mark.parametrize("method", METHODS)
def test_premises_of_a_file_are_searched_without_the_tool(method: str, tmp_path: Any) -> None:
    (tmp_path / "library.txt").write_text("far : x\n\nnear : c\n  follows\n")
    given = {"assistant": "metamath", "n": 1, "premises": 1, "library": str(tmp_path / "library.txt")}
    result, shown = solve(method, scripted((".", "nothing")), LEMMAS, **given)
    assert any("may help:\nnear : c follows\n" in prompt for prompt in shown.asked)
    assert {node["tool"] for node in result.trace["nodes"] if node["kind"] == "tool"} == {"proof"}


@rocq
def test_premises_of_rocq_are_those_of_the_libraries_that_the_statement_loads() -> None:
    statement = "Require Import Arith.\nTheorem t : forall n m : nat, n * m = m * n."
    reply = scripted((r"Nat\.mul_comm : forall n m : nat, n \* m = m \* n", "exact Nat.mul_comm"), (".", "fail"))
    found, _ = solve("proof_search", reply, statement, n=1, steps=1, premises=8)
    assert found.answer.answer == "exact Nat.mul_comm."
    lost, _ = solve("proof_search", reply, statement, n=1, steps=1)
    assert lost.answer.answer is None


def test_a_template_without_a_place_for_premises_is_refused() -> None:
    backend = ScriptBackend(scripted())
    problem = Problem("p0", LEMMAS, whole_text)
    given = {"assistant": "metamath", "premises": 3, "suggest": "{statement} {goals}"}
    for method in METHODS:
        ((_, result),) = Driver({"main": backend}).solve([MethodJob(find(method), problem, given)])
        assert (result.why, backend.asked) == ("failed", [])
        assert "premises=3 needs a template with {premises}" in result.error


def test_a_budget_of_runs_is_kept_and_a_larger_one_finds_the_proof() -> None:
    reply = scripted((r"stack: \|- b", "three"), (r"stack: \|- a", "two"), (".", "one"))
    for runs in (0, 1, 2, 3):
        short, _ = solve("proof_search", reply, LEMMAS, Budget(runs=runs), assistant="metamath", n=1)
        assert (short.why, short.cost.runs, short.answer.answer) == ("spent", runs, None)
    whole, _ = solve("proof_search", reply, LEMMAS, Budget(runs=4), assistant="metamath", n=1)
    assert (whole.why, whole.answer.answer) == ("done", "one\ntwo\nthree")


@pytest.fixture(scope="module", params=[0, 2])
def receipt_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    model = intact.load(write_tiny(tmp_path_factory.mktemp("models") / "m.gguf", context=2048), threads=1)
    given = {"statement": PROVABLE, "assistant": "metamath", "n": 2, "steps": 1, "regex": "aa|ab|a[.]"}
    given["premises"] = request.param
    result = intact.solve(model, "proof_search", "Prove it.", receipt=True, max_tokens=20, temperature=1.0, **given)
    assert result.why == "done", result.error
    return lambda: (model, result.receipt)


def test_a_receipt_of_a_search_is_verified_and_a_forged_try_is_named(receipt_of: Callable[[], Any]) -> None:
    model, receipt = receipt_of()
    tools = {place: entry.tool for place, entry in enumerate(receipt.entries) if isinstance(entry, ToolEntry)}
    assert set(tools.values()) - {"premises"} == {"proof"}
    places = [place for place, tool in tools.items() if tool == "proof"]
    assert verify_run(model, receipt).outcome == "true"
    entries = list(receipt.entries)
    claimed = "proved\nby nothing" if entries[places[-1]].text == "proved" else "proved"
    entries[places[-1]] = replace(entries[places[-1]], text=claimed, ended="ok")
    assert judge(model, cover(model, receipt, entries))[:2] == ("false", "tool")


def test_forged_premises_are_named(receipt_of: Callable[[], Any]) -> None:
    model, receipt = receipt_of()
    entries = list(receipt.entries)
    tools = {place: one.tool for place, one in enumerate(entries) if isinstance(one, ToolEntry)}
    for place in [place for place, name in tools.items() if name == "premises"]:
        forged = [*entries[:place], replace(entries[place], text="forged : |- b"), *entries[place + 1 :]]
        assert judge(model, cover(model, receipt, forged))[0] == "false"


def test_what_the_tool_gives_is_bounded_and_says_which_step_failed() -> None:
    tool = find_tool("proof")

    def use(**values: Any) -> Any:
        return tool.use(tool.check({"assistant": "metamath", **values}), Event(), untrusted=True)

    assert use(statement=LEMMAS, steps=["one two", "\x1b[2J"]).text.startswith("error 2\n")
    assert "\x1b" not in use(statement=LEMMAS, steps=["\x1b[2J"]).text
    assert use(statement=LEMMAS, steps=["one two three"]) == ("proved", "ok", True)
    assert use(statement=LEMMAS).text == "open\nto prove: |- c"
    long = use(statement=LEMMAS, steps=["one"] * 2000)
    assert (len(long.text) <= 4096, long.ended) == (True, "ok")
    with pytest.raises(ParameterError, match="no proof assistant named 'coq'"):
        tool.check({"statement": "", "assistant": "coq"})


@rocq
def test_a_proof_that_hangs_is_unsettled_and_so_is_one_that_asks_for_a_clock() -> None:
    tool = find_tool("proof")

    def use(**values: Any) -> Any:
        return tool.use(tool.check({"statement": BOTH, **values}), Event(), untrusted=True)

    hung = use(steps=["do 1000000000 (try fail)"], seconds=2.0)
    assert (hung.text.split("\n")[0], hung.ended, hung.settled) == ("limit", "time", False)
    assert use(steps=["timeout 1 tauto"]).settled is False
    assert use(steps=["tauto"]) == ("proved", "ok", True)
