"""Other provers as processes: they agree with enumeration, cannot escape their bounds, and are missed politely."""

import os
import sys
from collections import Counter

import pytest

from intact._base.errors import NotInstalledError, ParameterError
from intact.tools.prove import smtlib
from intact.tools.prove.formula import LogicProblem
from intact.tools.prove.provers import PROVERS, ProcessProver, ProverLimits, find_prover
from intact.tools.prove.tptp import parse
from intact.tools.prove.verdict import DECIDED, ProverVerdict, contradict
from intact.tools.sandbox import protection
from tools.prove.test_own import KNOWN, THEORIES
from tools.prove.theories import truth

OTHERS = [name for name in PROVERS if name != "intact"]
bubblewrap = pytest.mark.skipif(protection().kind == "seccomp", reason="needs bubblewrap")
PROBLEM = parse("fof(a, axiom, p). fof(g, conjecture, p).")


@pytest.fixture(params=OTHERS)
def prover(request):
    one = PROVERS[request.param]
    if (reason := one.missing()) is not None:
        pytest.skip(reason)
    return one


def check(prover, theories):
    """Decided as enumeration does, or not at all; SPASS aborts on some files, which is no verdict."""
    found = Counter()
    for problem, atoms in theories:
        verdict = prover.prove(problem, ProverLimits(seconds=30))
        assert verdict.status not in DECIDED or verdict.status == truth(problem, atoms)
        found[verdict.status in DECIDED] += 1
    return found


@bubblewrap
def test_a_prover_decides_theories_as_enumeration_does(prover):
    assert check(prover, THEORIES[5::33])[True] >= 5


@bubblewrap
@pytest.mark.slow
def test_e_decides_all_theories_as_enumeration_does():
    if (reason := PROVERS["e"].missing()) is not None:
        pytest.skip(reason)
    assert check(PROVERS["e"], THEORIES) == {True: 200}


@bubblewrap
def test_a_prover_agrees_on_known_problems(prover):
    for text, status in list(KNOWN.items())[::3]:
        assert not contradict(prover.prove(parse(text), ProverLimits()), ProverVerdict("known", status))


def stub(code, read=lambda problem, text: None):
    """A prover that is an interpreter with a program of ours: a real process behind the real protection."""
    return ProcessProver(
        "stub",
        "Stub",
        program=os.path.realpath(sys.executable),
        package="",
        command=lambda steps: ["-I", "-S", "-c", code],
        steps=1,
        write=smtlib.format_problem,
        read=read,
    )


@bubblewrap
@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("while True: pass", "Timeout", "after"),
        ("import time\ntime.sleep(3600)", "Timeout", "after"),
        ("import os\nos.abort()", "Error", "signal, status -6"),
        ("import sys\nsys.exit('no such option')", "Error", "no such option"),
        ("while True: print('x' * 10000)", "Error", "bytes of output"),
        ("", "Error", "no output"),
        ("x = 'x' * (1 << 33)", "Error", "MemoryError"),
        ("import socket\nsocket.create_connection(('1.1.1.1', 53))", "Error", "Error"),
        ("import os\nos.fork()", "Error", "PermissionError"),
        ("open('/etc/passwd')", "Error", "FileNotFoundError"),
        ("open('/proof', 'w')", "Error", "Read-only file system"),
    ],
)
def test_a_process_that_hangs_crashes_floods_or_reaches_out_ends_as_no_verdict(code, status, detail):
    verdict = stub(code).prove(PROBLEM, ProverLimits(seconds=2 if status == "Timeout" else 30))
    assert verdict.status == status
    assert detail in verdict.detail
    assert len(verdict.detail) < 300


@bubblewrap
def test_a_process_reads_the_problem_and_its_program_is_named_by_digest():
    echo = stub("print(input())", lambda problem, text: "GaveUp" if text == "(set-logic UF)\n" else None)
    verdict = echo.prove(PROBLEM, ProverLimits())
    assert (verdict.status, verdict.settled) == ("GaveUp", True)
    assert "sha256:" in verdict.version


def test_a_missing_prover_says_what_to_install():
    absent = ProcessProver(
        "none", "Nobody", program="no-such-prover", package="pip install it", command=lambda steps: [], steps=1,
        write=smtlib.format_problem, read=lambda problem, text: None,
    )  # fmt: skip
    with pytest.raises(NotInstalledError, match="the program no-such-prover is not on the path; pip install it"):
        absent.prove(PROBLEM, ProverLimits())


def test_unknown_names_and_bad_limits_are_refused():
    with pytest.raises(ParameterError, match=r"no prover named 'cvc4'.*cvc5"):
        find_prover("cvc4")
    with pytest.raises(ParameterError, match="steps must be at least 1, got 0"):
        ProverLimits(steps=0)
    with pytest.raises(ParameterError, match="seconds"):
        ProverLimits(seconds=-1)


def test_smtlib_renames_every_symbol_and_nests_variables():
    text = smtlib.format_problem(parse("fof(a, axiom, ![X]: ('my p'(X) => ?[X]: X = f(X))). fof(g, conjecture, q)."))
    assert "(declare-fun s0 (U) U)" in text
    assert "(assert (forall ((v0_1 U)) (=> (s1 v0_1) (exists ((v1_0 U)) (= v1_0 (s0 v1_0))))))" in text
    assert text.endswith("(assert (not s2))\n(check-sat)\n")
    assert smtlib.format_problem(LogicProblem({})) == "(set-logic UF)\n(declare-sort U 0)\n(check-sat)\n"
