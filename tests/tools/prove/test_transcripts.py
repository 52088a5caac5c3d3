"""Proofs step by step: the goals behind each step are those of the assistant, and pages show them whole."""

from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.prove.assistants.page import MOST_STEPS, html
from intact.tools.prove.assistants.transcript import ProofStep, ProofTranscript
from intact.tools.sandbox import protection
from support.browser import browser, complaints, overflow

ROCQ, METAMATH = find_assistant("rocq"), find_assistant("metamath")
rocq = pytest.mark.skipif(ROCQ.missing() is not None or protection().kind != "bubblewrap", reason="needs Rocq")
LIMITS = AssistantLimits(60)
FILE = """\
Require Import Arith.
(* the first *)
Theorem both : forall A B : Prop, A -> B -> B /\\ A.
Proof.
  intros A B HA HB. split.
  - exact HB.
  - exact HA.
Qed.
Lemma bad : forall n : nat, n + 0 = n.
Proof. intros n. apply nonsense. Check n. Abort.
Lemma given_up : 1 = 2.
Proof. admit. Admitted.
Lemma unsolved : True /\\ True. Proof. split. exact I. Qed. exact I. Qed.
Axiom wrong : 1 = 2.
Lemma assuming : 2 = 1. Proof. symmetry. exact wrong. Qed.
Definition plain := 3.
Lemma under_way : 1 <= 2.
  auto <b>.
"""


@pytest.fixture(scope="module")
def proofs():
    found, limit = ROCQ.transcripts(FILE, LIMITS)
    assert not limit
    return {one.name: one for one in found}


@rocq
def test_the_goals_behind_each_step_are_those_of_a_run_of_the_steps(proofs):
    """Every prefix of the proof, run for itself, leaves the goals of the transcript."""
    both = proofs["both"]
    assert [(one.text, one.line) for one in both.steps] == [
        ("intros A B HA HB.", 5), ("split.", 5), ("-", 6), ("exact HB.", 6), ("-", 7), ("exact HA.", 7),
    ]  # fmt: skip
    statement, steps = both.statement, tuple(one.text for one in both.steps)
    assert ROCQ.open(statement, LIMITS).goals == both.goals
    for place, one in enumerate(both.steps, 1):
        assert ROCQ.run(statement, steps[:place], LIMITS).goals == one.goals
    assert (both.kind, both.failure, both.line) == ("proved", None, 3)


@rocq
def test_every_proof_of_a_file_has_its_outcome_and_label(proofs):
    assert {name: (one.kind, one.failure) for name, one in proofs.items()} == {
        "both": ("proved", None),
        "bad": ("error", "unknown name"),
        "given_up": ("hole", "forbidden"),
        "unsolved": ("error", "unsolved goals"),
        "assuming": ("hole", "forbidden"),
        "under_way": ("error", "parse error"),
    }
    assert proofs["bad"].message == "line 10: The reference nonsense was not found in the current environment."
    assert [one.message for one in proofs["bad"].steps][::2] == ["", "n\n     : nat"]
    assert proofs["bad"].steps[1].goals == proofs["bad"].steps[0].goals
    assert proofs["given_up"].steps[0].message == "a goal is given up"
    assert proofs["assuming"].message == "it assumes wrong"
    assert [one.name for one in ROCQ.transcripts(FILE, LIMITS, "bad")[0]] == ["bad"]
    assert ROCQ.transcripts("Theorem t : True.", AssistantLimits(0.01))[1]
    with pytest.raises(ParameterError, match="the file fails: the comment that begins in line 1"):
        ROCQ.transcripts("(* open", LIMITS)


@rocq
def test_a_page_shows_every_step_and_escapes_what_it_says(proofs):
    page = html(list(proofs.values()), ROCQ, "<t>")
    assert page == html(list(proofs.values()), ROCQ, "<t>")
    assert "<title>&lt;t&gt;</title>" in page
    assert "auto &lt;b&gt;." in page
    assert "<script" not in page
    assert "1 of 6 proofs are accepted by Rocq" in page
    assert page.count('<tr id="step-') == sum(1 + len(one.steps) for one in proofs.values())


LETTERS = "$c |- a b $. one $a |- a $. ${ two.1 $e |- a $. two $a |- b $. $}\n"


def test_metamath_shows_the_stack_of_normal_and_compressed_proofs():
    compressed = "short $p |- b $= ( one two ) AB $.\nagain $p |- b $= ( one two ) AZCB $."
    plain, short, again = METAMATH.transcripts(f"{LETTERS}plain $p |- b $= one two $.\n{compressed}", LIMITS)[0]
    assert plain.steps == (ProofStep("one", 2, ("|- a",)), ProofStep("two", 2, ("|- b",)))
    assert [(one.text, one.goals) for one in short.steps] == [(one.text, one.goals) for one in plain.steps]
    assert (plain.kind, short.kind, plain.goals) == ("proved", "proved", ("to prove: |- b",))
    assert [one.text for one in again.steps] == ["one", "again 1", "two"]
    assert (again.kind, again.failure) == ("error", "unsolved goals")
    wrong, hole = METAMATH.transcripts(f"{LETTERS}wrong $p |- b $= two $. hole $p |- b $= one ? $.", LIMITS)[0]
    assert (wrong.kind, wrong.failure, wrong.steps) == ("error", "failed tactic", ())
    assert (hole.kind, hole.failure) == ("hole", "forbidden")
    assert "the stack after it" in html([plain], METAMATH, "x")
    with pytest.raises(ParameterError, match="the file fails: line 1"):
        METAMATH.transcripts("$c a", LIMITS)


def test_a_page_that_would_be_too_long_is_refused_and_lean_is_not_shown():
    long = ProofTranscript("t", "t", 1, ("t",), (ProofStep("s", 1),) * (MOST_STEPS + 1))
    with pytest.raises(
        ParameterError,
        match="a page may have at most 20,000 steps, but the proofs have 20,001: choose one with --theorem",
    ):
        html([long], ROCQ, "x")
    with pytest.raises(ParameterError, match="proofs of Lean cannot be shown step by step yet"):
        find_assistant("lean").transcripts("theorem t : True := by trivial", LIMITS)


@rocq
@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390, 320])
def test_a_browser_shows_the_page_without_errors_or_overflow(proofs, width: int, tmp_path: Path):
    wide = ProofStep("apply (" + "very_long_name " * 40 + ").", 9, ("H : " + "x" * 400,), "no " * 400, "failed tactic")
    file = tmp_path / "proofs.html"
    file.write_text(html([*proofs.values(), proofs["both"].add(wide)], ROCQ, "proofs"), "utf-8")
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": width, "height": 900})
        said = complaints(page)
        page.goto(f"file://{file}")
        assert (said, overflow(page)) == ([], 0)
        page.click("text=assuming")
        assert page.evaluate("document.querySelector(':target').textContent") == "assuming"
        assert page.locator("tbody tr").count() == page.locator("[id^=step-]").count() > 20
