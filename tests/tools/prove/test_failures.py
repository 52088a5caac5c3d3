"""Labels of failed proofs: one for every failure, by what the assistants really say."""

import re

import pytest

from intact.evaluate.report.sections import proofs
from intact.evaluate.report.sections.base import OmittedError
from intact.evaluate.results import line
from intact.tools.prove.assistants import ASSISTANTS, find_assistant
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.prove.assistants.failures import FAILURES, count_failures
from intact.tools.sandbox import protection
from support.report_runs import arm

ROCQ = find_assistant("rocq")
rocq = pytest.mark.skipif(ROCQ.missing() is not None or protection().kind != "bubblewrap", reason="needs Rocq")
LIMITS = AssistantLimits(60)
HEADER = "Require Import Reals Lia Lra.\nOpen Scope R_scope.\n"
STATEMENT = f"{HEADER}Theorem t : forall A B : Prop, forall x y : R, A -> B -> x <= y -> B /\\ A."
BEGUN = "intros A B x y HA HB H"
DATABASE = (
    "$c |- wff a b $. $v p $. wp $f wff p $. wa $a wff a $. one $a |- a $. ${ two.1 $e |- p $. two $a |- b $. $}\n"
)


@rocq
@pytest.mark.parametrize(
    ("step", "label"),
    [
        ("intro ) x", "parse error"),
        ("(* open", "parse error"),
        ("apply nonsense", "unknown name"),
        ("simpl in H8", "unknown name"),
        ("assert (1%foo = 2)", "unknown name"),
        (f"{BEGUN}; exact HA", "type error"),
        ("exact (1 2)", "type error"),
        (f"{BEGUN}; apply HA", "failed tactic"),
        ("lia", "failed tactic"),
        ("tauto. tauto", "failed tactic"),
        ("{ intros. }", "unsolved goals"),
        ("intros", "unsolved goals"),
        ("admit", "forbidden"),
        ("Admitted", "forbidden"),
        ("Axiom foo : False", "forbidden"),
        ("timeout 1 (do 100000000 idtac)", "timeout"),
    ],
)
def test_rocq_says_why_a_proof_fails(step, label):
    state = ROCQ.run(STATEMENT, (step,), LIMITS)
    assert ROCQ.failure(state.kind, state.message) == label


@rocq
def test_a_proof_whose_time_ends_is_a_timeout_and_a_whole_one_has_no_label():
    hung = ROCQ.run("Theorem t : True.", ("do 1000000000 (try fail)",), AssistantLimits(2))
    assert ROCQ.failure(hung.kind, hung.message) == "timeout"
    whole = ROCQ.run("Theorem t : True.", ("exact I",), LIMITS)
    assert (whole.kind, ROCQ.failure(whole.kind, whole.message)) == ("proved", None)


@rocq
def test_every_error_and_hole_of_a_file_has_a_label():
    text = "Theorem a : True.\nProof.\nQed.\nAbort.\nTheorem b : True.\nProof. exact J. admit.\nAdmitted.\n"
    report = ROCQ.check(f"{text}From No Require X.", LIMITS)
    found = ROCQ.failures(report)
    assert len(found) == len(report.errors) + len(report.holes)
    assert count_failures(found)["unsolved goals"] == 1
    assert count_failures(found)["unknown name"] == 2
    assert count_failures(found)["forbidden"] == len(report.holes) > 0


@pytest.mark.parametrize(
    ("proof", "label"),
    [
        ("wa nothing", "unknown name"),
        ("one one two", "type error"),
        ("wp one two", "failed tactic"),
        ("two", "failed tactic"),
        ("wa one two ?", "forbidden"),
        ("one", "unsolved goals"),
    ],
)
def test_the_checker_of_metamath_says_why_a_proof_fails(proof, label):
    metamath = find_assistant("metamath")
    state = metamath.run(f"{DATABASE}goal $p |- b $= ? $.", (proof,), LIMITS)
    assert metamath.failure(state.kind, state.message) == label
    report = metamath.check(f"{DATABASE}goal $p |- b $= {proof} $.", LIMITS)
    assert metamath.failures(report) == [label]
    assert metamath.failures(metamath.check("$c a", LIMITS)) == ["parse error"]
    assert metamath.failures(metamath.check(f"{DATABASE}goal $p |- b $= wa one two $.", LIMITS)) == []


@pytest.mark.parametrize(
    ("message", "label"),
    [
        ("unknown identifier 'foo'", "unknown name"),
        ("unknown constant 'Nat.foo'", "unknown name"),
        ("type mismatch\n  h\nhas type\n  a : Prop\nbut is expected to have type\n  b : Prop", "type error"),
        ("unsolved goals\nx : Nat\n⊢ x = x", "unsolved goals"),
        ("(deterministic) timeout at `whnf`, maximum number of heartbeats (200000) has been reached", "timeout"),
        ("<input>:1:7: unexpected token ')'; expected term", "parse error"),
        ("linarith failed to find a contradiction", "failed tactic"),
        ("only tactics can be steps of a proof, got 'axiom'", "forbidden"),
    ],
)
def test_leans_messages_have_labels(message, label):
    assert find_assistant("lean").failure("error", message) == label


def test_outcomes_that_are_no_errors_have_labels_without_a_message():
    for one in ASSISTANTS.values():
        assert one.failure("hole", "a goal is given up") == "forbidden"
        assert one.failure("limit", "coqtop ended by memory, status 1") == "resource limit"
        assert one.failure("error", "") == "failed tactic"
        assert set(one.errors) <= set(FAILURES)


def test_the_page_has_every_label_with_its_meaning(root):
    page = (root / "docs" / "proving.md").read_text("utf-8")
    table = page.partition("### Failures\n")[2].partition("\n\n`intact prove")[0]
    assert dict(re.findall(r"^\| `([a-z ]+)` \| (.+) \|$", table, re.MULTILINE)) == FAILURES


def tried(*texts):
    """A tree with uses of the tool `proof`."""
    return {"nodes": [{"kind": "tool", "tool": "proof", "values": {"assistant": "rocq"}, "text": one} for one in texts]}


def test_a_report_counts_the_labels_of_all_tries():
    trees = [
        tried("open\nx", "error 1\nThe reference foo was not found in the current environment.", "error 1\nwhatever"),
        {"nodes": [{"kind": "call", "method": "proof_search", **tried("proved", "error 2\nSyntax error: x")}]},
        {"nodes": []},
    ]
    own = arm([[{"correct": True}]] * 3, traces=[line(one) for one in trees])
    made = proofs.SECTION.make([own, arm([[{"correct": True}]] * 3, "other")])
    (found,) = made.numbers.values()
    assert (found.tries, found.open, found.proved) == (5, 1, 1)
    assert found.failed == {"parse error": 1, "unknown name": 1, "failed tactic": 1}
    assert found.problems == {"parse error": 1, "unknown name": 1, "failed tactic": 1}
    assert made.blocks[0].head == [
        "run", "tries", "whole proofs", "open",
        "parse error (problems)", "unknown name (problems)", "failed tactic (problems)",
    ]  # fmt: skip
    assert made.blocks[0].rows == [["made", "5", "1", "1", *["1, 33.3% (1)"] * 3]]
    assert made.blocks[-1].text == "other is not shown, because no proof was tried with the tool proof."
    with pytest.raises(OmittedError):
        proofs.SECTION.make([arm([[{"correct": True}]])])
