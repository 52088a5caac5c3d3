"""New theorems of a proved one: the statements that the lemmas give, and the assistant accepts every proof."""

import pytest

from intact._base.errors import ParameterError
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.prove.assistants.rocq import RocqAssistant
from intact.tools.prove.mutations import mutate
from intact.tools.sandbox import protection

ROCQ = RocqAssistant()
pytestmark = pytest.mark.skipif(ROCQ.missing() is not None or protection().kind != "bubblewrap", reason="needs Rocq")
LIMITS = AssistantLimits(60)
FILE = """\
Require Import Arith Lia.
Theorem double n m : n <= m -> n + n <= m + m.
Proof. lia. Qed.
Lemma other : forall n : nat, n = n. Proof. auto. Qed.
Lemma open : 1 = 2. Proof. admit. Admitted.
Lemma unfinished : True.
"""


def test_each_way_to_change_a_statement_gives_the_theorem_that_it_ought_to():
    """Both directions, the conclusion and a hypothesis, and a premise that implies the hypothesis."""
    lemmas = ["Nat.add_0_r", "Nat.double_twice", "Nat.lt_le_incl"]
    result = mutate(ROCQ, FILE, LIMITS, "double", lemmas)
    assert [(one.statement, one.change) for one in result.found] == [
        ("forall n m : nat, n <= m -> n + n <= m + m + 0", "rewrite <- Nat.add_0_r"),
        ("forall n m : nat, n <= m + 0 -> n + n <= m + m", "rewrite <- Nat.add_0_r in H"),
        ("forall n m : nat, n < m -> n + n <= m + m", "apply Nat.lt_le_incl for H"),
    ]
    assert [one.name for one in result.found] == ["double_1", "double_2", "double_3"]
    assert (result.tried, result.limit) == (33, "")  # 2 changes of the conclusion, 3 of each of n, m and H
    assert result.changed >= len(result.found)
    report = ROCQ.check(result.text, LIMITS)
    assert report.compiles
    assert not report.holes
    assert "open" not in result.text
    assert mutate(ROCQ, FILE, LIMITS, "double", lemmas) == result


def test_nearest_lemmas_are_those_of_the_library():
    result = mutate(ROCQ, FILE, LIMITS, "double", 2)
    assert result.tried == 22
    assert mutate(ROCQ, FILE, LIMITS, "double", 2) == result


@pytest.mark.parametrize(
    ("theorem", "lemmas", "message"),
    [
        ("none", 3, "the file has no theorem 'none' with a complete proof"),
        ("unfinished", 3, "the file has no theorem 'unfinished' with a complete proof"),
        ("open", ["Nat.add_comm"], "only a proved theorem can be changed, but open is not proved"),
        ("double", ["Nat.nothing"], "the lemma Nat.nothing is unknown before double"),
        ("double", ["Nat.add_comm. Abort"], "a lemma must be a name such as Nat.add_comm"),
        ("double", 0, "at least one lemma"),
        ("double", -3, "at least one lemma"),
        ("double", (), "at least one lemma"),
    ],
)
def test_bad_input_is_named(theorem, lemmas, message):
    with pytest.raises(ParameterError, match=message):
        mutate(ROCQ, FILE, LIMITS, theorem, lemmas)


def test_definitions_are_no_theorems_and_names_are_new():
    text = f"{FILE.partition('Lemma other')[0]}Lemma double_1 : True. Proof. exact I. Qed.\nDefinition b := 1.\n"
    first = text.replace("Lemma double_1", "Lemma before").partition("Definition")[0]
    assert mutate(ROCQ, text, LIMITS, lemmas=["Nat.add_0_r"]).theorem == "double_1"
    moved = "Lemma double_1 : True. Proof. exact I. Qed.\n" + first.partition("Lemma before")[0]
    result = mutate(ROCQ, moved, LIMITS, "double", ["Nat.add_0_r"])
    assert [one.name for one in result.found] == ["double_2", "double_3"]


def test_a_file_without_theorems_and_a_run_without_time():
    with pytest.raises(ParameterError, match="the file has no theorem with a complete proof"):
        mutate(ROCQ, "Require Import Arith.", LIMITS)
    assert "time" in mutate(ROCQ, FILE, AssistantLimits(0.01), "double", ["Nat.add_comm"]).limit
