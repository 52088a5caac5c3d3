"""Premises for a goal: what a proof may use, ranked by the symbols that statements share with the goal."""

from threading import Event

import pytest

from intact._base.errors import ParameterError
from intact.reason.tool import LONGEST_OUTPUT
from intact.reason.tools import find_tool
from intact.tools.prove.assistants import database, find_assistant
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.prove.premises import LONGEST, nearest, symbols
from intact.tools.sandbox import protection

ROCQ, METAMATH = find_assistant("rocq"), find_assistant("metamath")
rocq = pytest.mark.skipif(ROCQ.missing() is not None or protection().kind != "bubblewrap", reason="needs Rocq")
LIMITS = AssistantLimits(60)
DATABASE = """\
$c |- wff a b -> $. $v p q $. wp $f wff p $. wq $f wff q $.
one $a |- a -> a $.
${ two.1 $e |- p $. two.2 $e |- p -> q $. two $a |- q $. $}
three $p |- b $= ? $.
goal $p |- b -> b $= ? $.
later $a |- b -> b $.
"""


def test_metamath_knows_what_stands_before_the_last_theorem():
    known = METAMATH.known(DATABASE.replace("later $a |- b -> b $.\n", ""), LIMITS)
    assert known.statements == ("one : |- a -> a", "two : |- p & |- p -> q => |- q", "three : |- b")
    with pytest.raises(ParameterError, match="the statement fails: line 1"):
        METAMATH.known("$c a", LIMITS)


def test_a_theorem_may_use_no_later_assertion():
    read = database.read(DATABASE)
    assert [one.label for one in database.before(read, read.assertions["goal"])] == ["one", "two", "three"]


def test_rare_symbols_decide_and_ties_go_to_the_earlier_statement():
    statements = ["a : x + y", "b : x * y", "c : y + x", "d : exp (x + y) = exp x * exp y"]
    assert nearest(statements, "exp x <= exp y", 1) == ["d : exp (x + y) = exp x * exp y"]
    assert nearest(statements[:3], "p + q", 9) == ["a : x + y", "c : y + x"]
    assert nearest(statements, "nothing", 9) == []
    assert symbols("forall n m : nat, (n + m)%nat = Nat.add m n") == [
        "forall", "n", "m", "nat", "n", "+", "m", "%nat", "=", "Nat.add", "m", "n",
    ]  # fmt: skip
    assert nearest([f"long : {'word ' * 200}\nend"], "word", 1)[0].startswith("long : word word")
    assert len(nearest([f"long : {'word ' * 200}"], "word", 1)[0]) <= LONGEST


@rocq
def test_rocq_knows_its_libraries_and_the_lemmas_of_the_text_but_not_the_theorem():
    text = "Require Import Arith.\nLemma mine : 1 = 1. Proof. reflexivity. Qed.\nTheorem t : 2 = 2."
    known = ROCQ.known(text, LIMITS)
    names = {one.partition(" : ")[0]: one.partition(" : ")[2] for one in known.statements}
    assert names["Nat.add_comm"] == "forall n m : nat, n + m = m + n"
    assert names["mine"] == "1 = 1"
    assert "t" not in names
    assert list(known.statements) == sorted(known.statements, key=lambda one: one.partition(" : ")[0])
    assert not any("\n" in one for one in known.statements)
    assert "Nat.add_comm" not in str(ROCQ.known("Theorem t : 2 = 2.", LIMITS).statements)
    with pytest.raises(ParameterError, match="the text before the theorem fails: The reference no was not found"):
        ROCQ.known("Check no.\nTheorem t : 2 = 2.", LIMITS)
    assert ROCQ.known("Require Import Reals.\nTheorem t : 2 = 2.", AssistantLimits(0.01)).limit


def test_lean_has_no_list_and_says_what_to_do():
    with pytest.raises(ParameterError, match="Lean cannot list the statements of its library: give a file of them"):
        find_assistant("lean").known("theorem t : 1 = 1 := by", LIMITS)


def test_the_tool_gives_whole_lines_within_its_bound():
    tool = find_tool("premises")
    many = "".join([f"l{n} $a |- a -> a {'-> a ' * 60}$. " for n in range(60)])
    values = {"assistant": "metamath", "statement": DATABASE.replace("three", f"{many}three"), "goals": "-> a"}
    one = tool.use(tool.check({**values, "most": 1000}), Event(), untrusted=True)
    assert one.ended == "ok"
    lines = one.text.splitlines()
    assert LONGEST_OUTPUT - 400 < len(one.text) <= LONGEST_OUTPUT
    assert all(" : |- " in line for line in lines)
    assert tool.use(tool.check(values), Event()).text.splitlines() == lines[:8]
    with pytest.raises(ParameterError, match="no proof assistant named 'coq'"):
        tool.check({**values, "assistant": "coq"})
