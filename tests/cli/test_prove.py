"""intact prove: verdicts, exit status, and bad input."""

import pytest

from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.provers import PROVERS
from intact.tools.sandbox import protection

AXIOMS = "fof(a, axiom, ![X]: (man(X) => mortal(X))).\nfof(b, axiom, man(socrates)).\n"
THEOREM = AXIOMS + "fof(g, conjecture, mortal(socrates))."
ENDLESS = "fof(a,axiom,p(a)). fof(b,axiom,![X]:(p(X)=>p(f(X)))). fof(c,axiom,![X]:~q(X)). fof(g,conjecture,p(g(a)))."


def test_a_theorem(intact_command, tmp_path):
    (tmp_path / "x.p").write_text(THEOREM)
    result = intact_command("prove", tmp_path / "x.p", "--json")
    assert (result.code, result.json["status"], result.json["conflict"]) == (0, "Theorem", False)
    assert result.json["verdicts"][0]["meaning"] == "the conjecture follows from the axioms"
    assert intact_command("prove", tmp_path / "x.p", "--json").out == result.out
    assert "Theorem  the conjecture follows" in intact_command("prove", tmp_path / "x.p").out


def test_standard_input(intact_command):
    result = intact_command("prove", "-", "--json", stdin=AXIOMS + "fof(g, conjecture, mortal(plato)).")
    assert (result.code, result.json["status"]) == (0, "CounterSatisfiable")


def test_contradictory_axioms_are_said_to_be_so(intact_command):
    result = intact_command("prove", "-", stdin="fof(a,axiom,p). fof(b,axiom,~p). fof(g,conjecture,q).")
    assert "ContradictoryAxioms  the axioms contradict each other, so that everything follows" in result.out


def test_no_verdict_is_status_1(intact_command):
    result = intact_command("prove", "-", "--steps", "500", "--json", stdin=ENDLESS)
    assert (result.code, result.json["status"], result.json["verdicts"][0]["steps"]) == (1, "GaveUp", 500)


def test_all_that_are_here_are_compared(intact_command):
    result = intact_command("prove", "-", "--with", "all", "--json", stdin=THEOREM)
    assert result.json["status"] == "Theorem"
    assert result.code == 0
    asked = [verdict["prover"] for verdict in result.json["verdicts"]]
    assert sorted([*asked, *result.json["missing"]]) == sorted(PROVERS)


def test_a_problem_too_large_for_our_own_prover_leaves_the_others_their_verdict(intact_command, monkeypatch):
    monkeypatch.setattr("intact.tools.prove.own.MOST_CLAUSES", 2)
    alone = intact_command("prove", "-", stdin=THEOREM)
    assert (alone.code, alone.err) == (2, "error: a problem may have at most 2 clauses, this one has 3\n")
    result = intact_command("prove", "-", "--with", "all", "--json", stdin=THEOREM)
    first = result.json["verdicts"][0]
    assert (first["status"], first["detail"]) == ("GaveUp", "a problem may have at most 2 clauses, this one has 3")
    assert result.code == (0 if len(result.json["verdicts"]) > 1 else 1)


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["-"], "fof(a, axiom, p", "standard input, line 1, column 16: expected ')', got the end"),
        (["no.p"], "", "no.p cannot be read"),
        (["-", "--with", "vampire"], THEOREM, "no prover named 'vampire'; available:"),
        (["-", "--with", "vampire"], THEOREM, "all, rocq, metamath, lean"),
        (["-", "--seconds", "nan"], THEOREM, "seconds must be positive"),
        (["-", "--with", "metamath", "--steps", "5"], "", "--steps limits provers"),
        (["-", "--with", "metamath", "--theorem", "x"], "", "--theorem chooses what --goals, --html or --mutate shows"),
    ],
)
def test_bad_input_is_one_line(intact_command, arguments, text, message):
    result = intact_command("prove", *arguments, stdin=text)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(("name", "prover"), [("x.mm", "metamath"), ("x.v", "rocq"), ("x.lean", "lean")])
def test_a_file_of_an_assistant_names_it(intact_command, tmp_path, name, prover):
    (tmp_path / name).write_text("$c a $.")
    result = intact_command("prove", tmp_path / name)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.endswith(f", use --with {prover}\n")


def test_a_missing_prover_is_one_line(intact_command, monkeypatch):
    monkeypatch.setattr(type(PROVERS["e"]), "path", lambda self: None)
    result = intact_command("prove", "-", "--with", "e", stdin=THEOREM)
    assert result.code == 2
    assert "E is not installed" in result.err


def test_a_proof_assistants_file_is_checked(intact_command, tmp_path):
    whole = "$c a b $. one $a a $. two $p a $= one $.\n"
    assert intact_command("prove", "-", "--with", "metamath", stdin=whole).out.startswith("it assumes") is False
    result = intact_command("prove", "-", "--with", "metamath", "--json", stdin=whole)
    assert (result.code, result.json["status"], result.json["axioms"]) == (0, "whole", ["one"])
    result = intact_command("prove", "-", "--with", "metamath", "--json", stdin=f"{whole}three $p b $= one $.")
    assert (result.code, result.json["status"], result.json["errors"][0]["line"]) == (1, "errors", 2)
    assert result.json["errors"][0]["failure"] == "unsolved goals"
    assert result.json["failures"] == {"unsolved goals": 1}
    (tmp_path / "x.mm").write_text(f"{whole}three $p b $= ? $.")
    result = intact_command("prove", tmp_path / "x.mm", "--with", "metamath")
    assert result.code == 1
    assert "x.mm:2: a proof is left open" in result.out
    (tmp_path / "y.mm").write_text(f"{whole}three $p b $= four $.")
    assert "y.mm:2:1: unknown name: three" in intact_command("prove", tmp_path / "y.mm", "--with", "metamath").out


def test_proofs_are_shown_step_by_step_in_the_terminal_in_json_and_as_a_page(intact_command, tmp_path):
    text = "$c |- a b $. one $a |- a $. ${ two.1 $e |- a $. two $a |- b $. $}\nthree $p |- b $= one two $.\n"
    (tmp_path / "x.mm").write_text(f"{text}<i> $p |- b $= one two $.".replace("<i>", "i") + "\nfour $p |- a $= two $.")
    asked = ["prove", tmp_path / "x.mm", "--with", "metamath"]
    result = intact_command(*asked, "--goals", "--theorem", "three")
    assert result.out.startswith(
        "three  |- b\n      to prove: |- b\n   2  one\n      |- a\n   2  two\n      |- b\nproved\n"
    )
    assert "four  " not in result.out.partition("\nproved")[0]
    found = intact_command(*asked, "--goals", "--json").json["proofs"]
    assert [(one["name"], one["kind"], one["failure"]) for one in found] == [
        ("three", "proved", None), ("i", "proved", None), ("four", "error", "failed tactic"),
    ]  # fmt: skip
    assert "proofs" not in intact_command(*asked, "--json").json
    assert intact_command(*asked, "--html", tmp_path / "x.html").code == 1
    page = (tmp_path / "x.html").read_text()
    assert "2 of 3 proofs are accepted by Metamath" in page
    result = intact_command(*asked, "--goals", "--theorem", "five")
    assert (result.code, "no proof of a theorem named 'five'" in result.err) == (2, True)
    result = intact_command("prove", "-", "--goals", stdin=THEOREM)
    assert (result.code, "add one, such as --with rocq" in result.err) == (2, True)


PROVED = "Require Import Arith.\nTheorem t : forall n : nat, n <= n.\nProof. auto. Qed.\n"


@pytest.mark.skipif(
    find_assistant("rocq").missing() is not None or protection().kind != "bubblewrap", reason="needs Rocq, bubblewrap"
)
def test_new_theorems_of_a_proved_one(intact_command, tmp_path):
    command = ("prove", "-", "--with", "rocq", "--seconds", "60", "--mutate", "Nat.add_0_r")
    result = intact_command(*command, "--out", tmp_path / "more.v", "--json", stdin=PROVED)
    assert (result.code, result.json["theorem"], result.json["tried"]) == (0, "t", 5)
    assert [one["statement"] for one in result.json["found"]] == ["forall n : nat, n <= n + 0"]
    assert intact_command("prove", tmp_path / "more.v", "--with", "rocq", "--seconds", "60").code == 0
    assert "t_1 : forall n : nat, n <= n + 0" in intact_command(*command, stdin=PROVED).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "rocq", "--out", "x.v"], "--out writes the results of --mutate"),
        (["--mutate", "3"], "--mutate needs --with rocq"),
        (["--with", "rocq", "--mutate", "3", "--goals"], "cannot be combined with --goals or --html"),
    ],
)
def test_options_that_do_not_go_together(intact_command, arguments, message):
    result = intact_command("prove", "-", *arguments, stdin=PROVED)
    assert result.code == 2
    assert message in result.err
