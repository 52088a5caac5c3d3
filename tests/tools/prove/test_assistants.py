"""Proof assistants behind one protocol: Rocq as a process, Metamath by our checker, Lean by its REPL's messages."""

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import FormatError, NotInstalledError, ParameterError
from intact.tools.prove.assistants import ASSISTANTS, find_assistant
from intact.tools.prove.assistants.base import AssistantLimits, ProofState
from intact.tools.prove.assistants.lean import PROGRAM, commands_of, parse_replies, state_of
from intact.tools.prove.assistants.rocq_output import AXIOMS
from intact.tools.prove.assistants.sentences import block_end, proof_in, split, tactics
from intact.tools.prove.assistants.transcript import PROOF_KINDS
from intact.tools.sandbox import ProgramLimits, protection, run_command
from intact.tools.sandbox.commands import interpreter

ROCQ, METAMATH, LEAN = (ASSISTANTS[name] for name in ("rocq", "metamath", "lean"))
rocq = pytest.mark.skipif(
    ROCQ.missing() is not None or protection().kind != "bubblewrap", reason=ROCQ.missing() or "needs bubblewrap"
)
PLUS = "Theorem plus_0 : forall n : nat, n + 0 = n.\n"
BOTH = "Theorem both : forall A B : Prop, A -> B -> B /\\ A.\n"
UNGUARDED = "Unset Guard Checking.\nFixpoint f (n : nat) : False := f n.\n"
LIMITS = AssistantLimits(60)
DATABASES = Path("/usr/share/metamath/databases")


def test_sentences_end_where_rocq_ends_them():
    text = 'Require Import A.B. (* a. (* b. *) c. *)\nTheorem t : "a. b" = x.(y) .. z.\n'
    text += "Proof. - { a.b. } ++ c; d... 2: { e. }"
    assert [one.text for one in split(text)] == [
        "Require Import A.B.",
        'Theorem t : "a. b" = x.(y) .. z.',
        "Proof.",
        "-",
        "{",
        "a.b.",
        "}",
        "++",
        "c; d...",
        "2: {",
        "e.",
        "}",
    ]
    assert [(one.line, one.column) for one in split("a.\n\n  b\n c.")] == [(1, 1), (3, 3)]
    assert split("a\n(* x *) b.")[0].text == "a         b."


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a. b", "line 1, column 4 does not end with a full stop"),
        ("a.\n (* b. (* c *)", "comment that begins in line 2, column 2"),
        ('a "b.', "text in quotes that begins in line 1, column 3"),
    ],
)
def test_a_text_that_does_not_end_is_named(text, error):
    with pytest.raises(FormatError, match=error):
        split(text)


@given(st.text('ab.{}-+*()" \n\t:2[]', max_size=40))
def test_sentences_cover_a_text_and_nothing_else(text):
    try:
        found = split(text)
    except FormatError:
        return
    if "(*" not in text:
        assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())
    assert not any("\n" in one.text for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "Admitted.",
        "lia. Axiom a : False.",
        "Unset Guard Checking.",
        "#[local] Ltac x := idtac.",
        "Show.",
        "From Coq Require Import Lia.",
    ],
)
def test_what_is_no_tactic_is_no_step(text):
    with pytest.raises(FormatError, match="only tactics, bullets and braces"):
        tactics(text)


def test_the_proof_in_what_a_model_writes_is_found():
    assert [one.text for one in proof_in("Theorem a : b.\nProof.\n intros. lia.\nQed.\nTheorem c : d.")] == []
    assert [one.text for one in proof_in("Theorem a : b.\nProof.\n intros. lia.\nQed.\n")] == ["intros.", "lia."]
    assert [one.text for one in proof_in("intros; lia")] == ["intros; lia."]
    assert proof_in("(* open") == []


def test_a_block_ends_at_the_next_bullet_of_its_kind_or_an_outer_one():
    steps = ["split.", "-", "a.", "+", "b.", "+", "c.", "-", "{", "d.", "+", "e.", "}", "f."]
    assert [block_end(steps, place) for place in (0, 2, 4, 6, 9, 11, 13)] == [14, 7, 5, 7, 12, 12, 14]
    assert block_end(steps, 1) == 2


@rocq
def test_a_proof_goes_from_state_to_state_and_back():
    begun = ROCQ.open(BOTH, LIMITS)
    assert begun.kind == "open"
    assert begun.goals == ("============================\nforall A B : Prop, A -> B -> B /\\ A",)
    inside = ROCQ.step(begun, "intros A B HA HB", LIMITS)
    halves = ROCQ.step(inside, "split.", LIMITS)
    assert inside.goals[0].splitlines()[-1] == "B /\\ A"
    assert "HB : B" in halves.goals[0]
    assert (len(halves.goals), halves.goals[1]) == (2, "A")
    assert ROCQ.undo(halves, LIMITS) == inside
    assert ROCQ.step(inside, "idtac", LIMITS).digest == inside.digest != halves.digest
    done = ROCQ.step(halves, "- exact HB.\n- exact HA.", LIMITS)
    assert (done.kind, done.goals, done.message) == ("proved", (), "")
    with pytest.raises(ParameterError, match="open goals, but this one is 'proved'"):
        ROCQ.step(done, "idtac.")


@rocq
@pytest.mark.parametrize(
    ("statement", "steps", "kind", "failed", "message"),
    [
        (PLUS, ("intros n", "reflexivity", "never"), "error", 1, "Unable to unify"),
        (PLUS, ("intros n", "induction n; simpl", "- reflexivity", "- now rewrite IHn"), "proved", None, ""),
        (PLUS, ("admit.",), "hole", None, "given up"),
        (PLUS, ("intros n. admit. Qed.",), "hole", None, "given up"),
        (PLUS, ("no_such_tactic",), "error", 0, "not found"),
        (PLUS, ("intros (",), "error", 0, "Syntax error"),
        (PLUS, ("(* intros.",), "error", 0, "comment"),
        (PLUS, ("intros.", "Axiom a : False."), "error", 1, "only tactics"),
        (PLUS, ("exact plus_0.",), "error", 0, "not found"),
        ("Theorem t : no_such_thing.", ("auto",), "error", None, "not found"),
        ("Check nat.", (), "error", None, "ends with a theorem to prove"),
        ("Axiom a : False.\nTheorem t : 1 = 2.", ("destruct a",), "hole", None, "it assumes a"),
        ("Axiom classic : forall P, P.\nTheorem t : 1 = 2.", ("apply classic",), "hole", None, "it assumes classic"),
        ("Require Import Classical.\nTheorem t : forall P, P \\/ ~ P.", ("apply classic",), "proved", None, "classic"),
        ("Axiom Bad.x : False.", (), "error", None, "ends with a theorem"),
        (f"{UNGUARDED}Theorem t : False.", ("exact (f 0)",), "hole", None, "f"),
        ("Lemma classic : False. Admitted.\nTheorem t : False.", ("apply classic",), "hole", None, "assumes classic"),
        ("Section s. Variable a : False.\nTheorem t : False.", ("exact a",), "proved", None, ""),
        ("Theorem t : exists n, n = 1.", ("eexists.", "shelve_unifiable.", "reflexivity."), "proved", None, ""),
    ],
)  # fmt: skip
def test_rocq_accepts_proofs_and_nothing_else(statement, steps, kind, failed, message):
    state = ROCQ.run(statement, steps, LIMITS)
    assert (state.kind, state.failed) == (kind, failed)
    assert message in state.message
    assert kind in PROOF_KINDS


@rocq
def test_what_a_tactic_prints_cannot_pass_for_a_proof():
    forged = [
        'idtac "No object of basename mark_0"',
        'idtac "Closed under the global context"',
        'fail "</prompt><prompt>plus_0 < 9 || 0 < </prompt>"',
        'idtac "<infomsg>"',
        'idtac "\x1b[2J"',
    ]
    for step in forged:
        assert ROCQ.run(PLUS, (step,), LIMITS).kind in ("open", "error")


@rocq
def test_a_hang_a_flood_and_an_escape_end_as_no_verdict():
    hung = ROCQ.run(PLUS, ("repeat idtac; do 1000000000 (try fail)",), AssistantLimits(3))
    assert (hung.kind, hung.settled) == ("limit", False)
    assert "time" in hung.message
    flood = ROCQ.run(PLUS, ('do 100000 idtac "' + "x" * 100 + '"',), LIMITS)
    assert (flood.kind, flood.settled) == ("limit", False)
    found = ROCQ.check('Redirect "/tmp/escaped" Print nat.\nCd "/etc".\nLoad "/etc/passwd".', LIMITS)
    assert len(found.errors) >= 2
    assert not Path("/tmp/escaped.out").exists()


@rocq
def test_a_whole_file_is_checked_and_its_errors_have_their_places():
    text = f"{PLUS}Proof.\n  intros n.\n  nonsense.\n  admit.\nAdmitted.\nParameter p : nat.\nCheck (1 + ).\n"
    report = ROCQ.check(text, LIMITS)
    assert not report.compiles
    assert [(one.line, one.column) for one in report.errors] == [(4, 3), (8, 12)]
    assert (report.holes, report.axioms) == ((5, 6), ("Parameter p : nat.",))
    assert ROCQ.check(f"{PLUS}Proof.\nnow induction n.\nQed.", LIMITS).compiles
    assert ROCQ.check("Check (1.", LIMITS).errors[0].message.endswith("not end with a full stop") is False


@rocq
def test_what_fails_gives_way_to_a_hole():
    steps = ROCQ.split("intros A B HA HB. split. - nonsense. auto. - exact HA.")
    state = ROCQ.run(BOTH, steps, LIMITS)
    mended = ROCQ.without(steps, state.failed, state.message)
    assert mended == ("intros A B HA HB.", "split.", "-", "admit.", "-", "exact HA.")
    assert ROCQ.run(BOTH, mended, LIMITS).kind == "hole"
    unfinished = ("intros.", "split.", "-", "idtac.", "-", "assumption.")
    state = ROCQ.run(BOTH, unfinished, LIMITS)
    assert ROCQ.without(unfinished, state.failed, state.message)[3:6] == ("idtac.", "admit.", "-")
    surplus = ("intros.", "split; assumption.", "auto.")
    state = ROCQ.run(BOTH, surplus, LIMITS)
    assert ROCQ.without(surplus, state.failed, state.message) == surplus[:2]


@rocq
def test_two_runs_say_the_same():
    states = {ROCQ.run(BOTH, ("intros; split", "auto"), LIMITS) for _ in range(2)}
    assert len(states) == 1


def test_axioms_that_are_allowed_are_none_of_a_file():
    assert all("." in name for name in AXIOMS)


# Metamath

DEMO = """\
$( The propositional calculus, as far as it takes. $)
$c ( ) -> wff |- $.  $v p q r $.
wp $f wff p $.  wq $f wff q $.  wr $f wff r $.
w2 $a wff ( p -> q ) $.
${ min $e |- p $.  maj $e |- ( p -> q ) $.  mp $a |- q $. $}
a1 $a |- ( p -> ( q -> p ) ) $.
a2 $a |- ( ( p -> ( q -> r ) ) -> ( ( p -> q ) -> ( p -> r ) ) ) $.
"""
IDENTITY = DEMO + "id $p |- ( p -> p ) $= ? $.\n"
NORMAL = (
    "wp wp wp w2 w2 wp wp w2 wp wp a1 wp wp wp w2 wp w2 w2 "
    "wp wp wp w2 w2 wp wp w2 w2 wp wp wp w2 a1 wp wp wp w2 wp a2 mp mp"
)


def test_a_theorem_of_metamath_is_proved_label_by_label():
    state = METAMATH.open(IDENTITY)
    assert state.kind == "open"
    assert "to prove: |- ( p -> p )" in state.goals[0]
    for label in NORMAL.split():
        state = METAMATH.step(state, label)
    assert (state.kind, state.settled) == ("proved", True)
    assert METAMATH.run(IDENTITY, (NORMAL,), LIMITS).kind == "proved"
    assert METAMATH.undo(state).kind == "open"


def test_metamath_names_what_is_wrong_with_a_step():
    for steps, error in (
        (("mp",), "mp needs 4 statements, and the stack holds 0"),
        (("wp", "id"), "no hypothesis or earlier assertion 'id'"),
        (("wp wp a1", "wq", "w2"), "w2 needs wff for p, and the stack holds |-"),
        (("?",), "a step is left out"),
    ):
        state = METAMATH.run(IDENTITY, steps, LIMITS)
        assert (state.kind, state.failed) == ("error", len(steps) - 1)
        assert error in state.message


def test_a_compressed_proof_is_the_same_as_a_normal_one():
    letters = "".join({"wp": "A", "w2": "B", "a1": "C", "a2": "D", "mp": "E"}[label] for label in NORMAL.split())
    letters = letters.replace("AAB", "AABZ", 1).replace("AAB", "F").replace("FZ", "AABZ", 1)  # F is what Z saved
    compressed = f"{DEMO}id $p |- ( p -> p ) $= ( w2 a1 a2 mp ) {letters} $.\n"
    assert letters.count("F") > 2
    whole = f"{DEMO}id $p |- ( p -> p ) $= {NORMAL} $.\n"
    assert METAMATH.check(whole, LIMITS).compiles
    report = METAMATH.check(compressed, LIMITS)
    assert report.compiles, report.errors


def test_every_changed_proof_is_found_out():
    words = NORMAL.split()
    labels = ["wp", "wq", "w2", "a1", "a2", "mp"]
    for place in range(len(words)):
        for label in labels:
            changed = [*words[:place], label, *words[place + 1 :]]
            compiles = METAMATH.check(f"{DEMO}id $p |- ( p -> p ) $= {' '.join(changed)} $.\n", LIMITS).compiles
            assert compiles == (label == words[place])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("$c a $. x $a b $.", "must begin with a constant"),
        ("$c a $. x $a a b $.", "no active symbol 'b'"),
        ("$c a $. $v v $. x $a a v $.", "the variable v has no type"),
        ("$c a $. x $a a $. x $a a $.", "the name 'x' is taken"),
        ("$c a $. ${ $c b $. $}", r"\$c within a block"),
        ("${", r"\$} is missing"),
        ("$}", "closes no block"),
        ("$( a", "comment does not end"),
        ("$c a", r"does not end with \$."),
        ("$[ other.mm $]", "files cannot be included"),
        ("$c a $. x $p a $.", r"no proof behind \$="),
        ("$c a $. $v v w $. $d v v $.", "different active variables"),
        ("$c a $. $v v $. f $f a v $. g $f a v $.", "has a type already"),
        ("$c a a $.", "the symbol 'a' is taken"),
        ("x", "ends behind the label"),
        ("$a", "takes a label"),
    ],
)
def test_a_malformed_database_is_named(text, error):
    (found,) = METAMATH.check(text, LIMITS).errors
    assert re.search(error, found.message)
    assert METAMATH.open(text).kind == "error"


def test_variables_must_be_distinct_where_an_axiom_says_so():
    base = "$c |- e $. $v x y z $. tx $f e x $. ty $f e y $. tz $f e z $. ${ $d x y $. ax $a |- x y $. $}\n"
    proofs = {
        "${ $d y z $. t $p |- y z $= ty tz ax $. $}": "",
        "t $p |- y z $= ty tz ax $.": "y and z to be distinct",
        "t $p |- y y $= ty ty ax $.": "y and y to be distinct",
    }
    for text, error in proofs.items():
        report = METAMATH.check(base + text, LIMITS)
        assert report.compiles == (not error)
        assert error in "".join(one.message for one in report.errors)


def test_a_hole_is_no_error_and_is_listed():
    report = METAMATH.check(IDENTITY, LIMITS)
    assert (report.errors, report.holes, report.axioms) == ((), (8,), ("w2", "mp", "a1", "a2"))


@pytest.mark.skipif(not DATABASES.is_dir(), reason="needs Debian's package metamath-databases")
@pytest.mark.parametrize("name", ["demo0", "miu", "peano", "hol", "big-unifier"])
def test_debians_databases_are_accepted_and_a_changed_proof_is_not(name):
    text = (DATABASES / f"{name}.mm").read_text("utf-8")
    assert METAMATH.check(text, LIMITS).compiles
    plain = re.sub(r"\$\(.*?\$\)", " ", text, flags=re.S)
    proofs = [found for found in re.finditer(r"\$=\s([^$]*)\$\.", plain) if len(found[1].split()) > 2]
    chance, caught = random.Random(1), 0
    for found in chance.sample(proofs, min(8, len(proofs))):
        words = found[1].split()
        changed = f"{plain[: found.start()]}$= {' '.join(words[:-1])} $.{plain[found.end() :]}"
        caught += not METAMATH.check(changed, LIMITS).compiles
    assert caught == min(8, len(proofs))


# Lean: the messages that leanprover-community/repl publishes as its tests (test/*.expected.out)

OPENED = json.loads(
    '{"sorries": [{"proofState": 0, "pos": {"line": 1, "column": 18}, "goal": "⊢ Nat", '
    '"endPos": {"line": 1, "column": 23}}], "messages": [{"severity": "warning", "pos": {"line": 1, "column": 4}, '
    '"endPos": {"line": 1, "column": 5}, "data": "declaration uses \'sorry\'"}], "env": 0}'
)
INCOMPLETE = "Incomplete: open goals remain"
STEPPED = [
    {"proofStatus": INCOMPLETE, "proofState": 1, "goals": ["⊢ Int"]},
    {"proofStatus": INCOMPLETE, "proofState": 2, "goals": ["t : Nat\n⊢ Nat"]},
    {"proofStatus": "Completed", "proofState": 3, "goals": []},
]
UNKNOWN = {
    "proofStatus": "Incomplete: contains sorry",
    "proofState": 1,
    "messages": [
        {"severity": "error", "pos": {"line": 0, "column": 0}, "endPos": {"line": 0, "column": 0},
         "data": "Unknown identifier `my_fake_premise`"}
    ],
    "goals": [],
}  # fmt: skip
FAILED = {"message": "Lean error:\n`exact?` could not close the goal. Try `apply?` to see partial suggestions."}
CASES = [
    {"proofStatus": INCOMPLETE, "proofState": 1,
     "goals": ["case pos\nx : Int\nh : x < 0\n⊢ x = x", "case neg\nx : Int\nh : ¬x < 0\n⊢ x = x"]},
    {"sorries": [{"proofState": 3, "goal": "case pos\nx : Int\nh : x < 0\n⊢ x = x"}],
     "proofStatus": "Incomplete: contains sorry", "proofState": 5, "goals": []},
]  # fmt: skip
UNSOLVED = json.loads(
    '{"messages": [{"severity": "error", "pos": {"line": 1, "column": 15}, "endPos": {"line": 1, "column": 32}, '
    '"data": "unsolved goals\\n⊢ Nat"}], "env": 0}'
)
LEAN_STATEMENT = "theorem f (x : Unit) : Nat := by"


def info(text):
    return {"messages": [{"severity": "info", "pos": {"line": 3, "column": 0}, "data": text}], "env": 1}


def lean_state(*replies, steps=None):
    count = len(replies) - 1 if steps is None else steps
    return state_of(LEAN_STATEMENT, tuple(f"s{n}" for n in range(count)), list(replies))


def test_leans_replies_become_states():
    assert lean_state(OPENED).goals == ("⊢ Nat",)
    assert lean_state(OPENED, *STEPPED[:2]).goals == ("t : Nat\n⊢ Nat",)
    assert len(lean_state(OPENED, CASES[0]).goals) == 2
    failed = lean_state(OPENED, STEPPED[0], UNKNOWN, FAILED)
    assert (failed.kind, failed.failed, failed.message) == ("error", 1, "Unknown identifier `my_fake_premise`")
    failed = lean_state(OPENED, FAILED)
    assert (failed.kind, failed.failed) == ("error", 0)
    assert failed.message.startswith("`exact?` could not close the goal")
    assert lean_state(OPENED, *CASES).kind == "hole"
    assert lean_state(UNSOLVED, steps=0).message == "unsolved goals\n⊢ Nat"


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (info("'f' does not depend on any axioms"), "proved", ""),
        (info("'f' depends on axioms: [propext, Quot.sound]"), "proved", "propext, Quot.sound"),
        (info("'f' depends on axioms: [sorryAx]"), "hole", "given up"),
        (info("'f' depends on axioms: [Lean.ofReduceBool]"), "hole", "it assumes Lean.ofReduceBool"),
        (UNSOLVED, "error", "unsolved goals"),
        ({"env": 1}, "error", "names no axioms"),
    ],
)
def test_lean_accepts_a_proof_by_its_axioms_alone(reply, kind, message):
    state = lean_state(OPENED, *STEPPED, reply, steps=3)
    assert state.kind == kind
    assert message in state.message
    assert lean_state(OPENED, *STEPPED, steps=3).kind == "limit"


def test_lean_is_asked_in_states_that_it_numbers():
    asked = commands_of("import Mathlib\ntheorem f : 1 = 1 := by\n", ["intro x\n  y", "rfl"])
    assert asked[0] == {"cmd": "import Mathlib\ntheorem f : 1 = 1 := by\n  sorry"}
    assert [one.get("proofState") for one in asked] == [None, 0, 1, None]
    assert asked[-1]["cmd"].endswith(":= by\n  intro x\n    y\n  rfl\n\n#print axioms f")
    with pytest.raises(FormatError, match="ends with a theorem to prove"):
        commands_of("example : 1 = 1 := by", [])


def test_leans_replies_are_read_one_after_the_other():
    text = "\n\n".join(json.dumps(one, indent=1) for one in (OPENED, *STEPPED)) + "\n\n"
    assert parse_replies(text) == [OPENED, *STEPPED]
    assert parse_replies("") == []
    for wrong in ("uncaught exception", '{"a": 1} x', "[1]", "[" * 100_000):
        with pytest.raises(FormatError, match="Lean's REPL wrote"):
            parse_replies(wrong)


@pytest.mark.parametrize(
    "step", ["axiom a : False", "rfl\n#eval 1", "open Nat in rfl", "run_tac skip", 'elab "x" : tactic => skip']
)
def test_commands_of_lean_are_no_steps(step):
    state = LEAN.run(LEAN_STATEMENT, (step,), LIMITS)
    assert (state.kind, state.failed) == ("error", 0)
    assert "only tactics" in state.message


@pytest.mark.skipif(protection().kind != "bubblewrap", reason="needs bubblewrap")
def test_a_program_in_leans_place_is_run_in_the_sandbox_with_threads(monkeypatch, tmp_path):
    """The REPL cannot be had here: a program that repeats its published replies stands for it."""
    program, library = tmp_path / "repl", tmp_path / "lib"
    library.mkdir()
    replies = [OPENED, STEPPED[2], info("'f' does not depend on any axioms")]
    (library / "replies").write_text("\n\n".join(json.dumps(one) for one in replies))
    code = "import os, threading\nfile = open(os.environ['LEAN_PATH'] + '/replies')\n"
    code += "one = threading.Thread(target=lambda: print(file.read()))\none.start()\none.join()\n"
    program.write_text(f"#!{interpreter()[0]} -S\n{code}")
    program.chmod(0o755)
    monkeypatch.setenv(PROGRAM, str(program))
    monkeypatch.setenv("LEAN_PATH", str(library))
    assert LEAN.missing() is None
    assert LEAN.version().startswith("repl sha256:")
    assert LEAN.run(LEAN_STATEMENT, ("exact 1",), LIMITS).kind == "proved"
    assert LEAN.check("theorem", LIMITS).holes == (1,)


def test_an_assistant_that_is_missing_says_what_to_do(monkeypatch):
    monkeypatch.delenv(PROGRAM, raising=False)
    with pytest.raises(NotInstalledError, match=f"name it by {PROGRAM}"):
        LEAN.open(LEAN_STATEMENT)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotInstalledError, match="install Debian's package coq"):
        ROCQ.open(PLUS)


def test_unknown_names_and_bad_limits_are_refused():
    with pytest.raises(ParameterError, match="no proof assistant named 'coq'"):
        find_assistant("coq")
    with pytest.raises(ParameterError, match="seconds"):
        AssistantLimits(0)
    with pytest.raises(ParameterError, match="no step to undo"):
        METAMATH.undo(ProofState("", (), "open"))


@pytest.mark.skipif(
    protection().kind != "bubblewrap" or not protection().filtered, reason="needs bubblewrap, pyseccomp"
)
@pytest.mark.parametrize("threads", [False, True])
def test_a_program_may_have_threads_and_never_another_process(threads):
    def run(code):
        program, *options = interpreter()
        return run_command(Path(program), [*options, "-c", code], "", ProgramLimits(), threads=threads)

    started = run("import threading\none = threading.Thread(target=print, args=('in',))\none.start()\none.join()")
    assert (started.ok, started.stdout) == (threads, "in\n" * threads)
    for code in ("os.fork()", "os.posix_spawn(sys.executable, [sys.executable, '-V'], {})"):
        assert "PermissionError" in run(f"import os, sys\n{code}").stderr
