"""Our own prover agrees with enumeration, repeats, and says where it stops."""

from collections import Counter

import pytest

from intact._base.errors import CapacityError, ParameterError
from intact.tools.prove import clauses, own
from intact.tools.prove.own import clauses_of, prove
from intact.tools.prove.search import OutOfStepsError, StepCounter, saturate
from intact.tools.prove.tptp import format_problem, parse
from tools.prove.theories import ATOMS, CHAIN, formulas_theory, rules_theory, truth

THEORIES = [(rules_theory(seed)[0], CHAIN) for seed in range(100)]
THEORIES += [(formulas_theory(seed), ATOMS) for seed in range(100)]


@pytest.fixture(scope="module")
def truths():
    return [truth(problem, atoms) for problem, atoms in THEORIES]


def test_the_theories_have_every_status_and_every_depth(truths):
    assert len(truths) == 200
    found = Counter(truths)
    assert min(found[status] for status in ("Theorem", "CounterSatisfiable", "ContradictoryAxioms")) >= 15
    assert {rules_theory(seed)[1] for seed in range(100)} == set(range(6))


def test_every_theory_is_decided_as_enumeration_does(truths):
    assert [prove(problem).status for problem, _ in THEORIES] == truths


def test_theories_without_conjecture_are_decided_as_enumeration_does():
    for problem, atoms in THEORIES:
        alone = type(problem)(problem.axioms)
        assert prove(alone).status == truth(alone, atoms)


def test_resolution_decides_as_enumeration_does_or_not_at_all(truths):
    decided = 0
    for (problem, _), status in zip(THEORIES, truths, strict=True):
        try:
            holds = saturate(clauses_of(problem)[1], StepCounter(60_000))
        except OutOfStepsError:
            continue
        decided += 1
        assert holds == (status == "CounterSatisfiable")
    assert decided >= 150


def test_a_written_problem_gets_the_same_verdict():
    for problem, _ in THEORIES[::10]:
        again = parse(format_problem(problem))
        assert again.formulas == problem.formulas
        assert prove(again) == prove(problem)


EACH_LOVES = "fof(a,axiom,![X]:?[Y]:loves(X,Y)). fof(g,conjecture,![X]:happy(X)). fof(b,axiom,![X,Y]:(loves(X,Y)=>"
KNOWN = {
    EACH_LOVES + "happy(X))).": "Theorem",
    EACH_LOVES + "happy(Y))).": "CounterSatisfiable",
    "fof(g,conjecture,?[X]:![Y]:(p(X)=>p(Y))).": "Theorem",
    "fof(g,conjecture,![Y]:?[X]:r(X,Y) => ?[X]:![Y]:r(X,Y)).": "CounterSatisfiable",
    "fof(a,axiom,f(a)=b). fof(b,axiom,a=c). fof(g,conjecture,f(c)=b).": "Theorem",
    "fof(a,axiom,a=b). fof(b,axiom,p(a)). fof(g,conjecture,p(c)).": "CounterSatisfiable",
    "cnf(a,axiom,p(X)|q(X)). cnf(b,axiom,~p(a)). cnf(c,negated_conjecture,~q(a)).": "Unsatisfiable",
    "fof(a,axiom,p(a)). fof(b,axiom,![X]:(p(X)=>p(f(X)))). fof(g,conjecture,p(f(f(f(a))))).": "Theorem",
    "fof(a,axiom,p & ~p). fof(g,conjecture,q).": "ContradictoryAxioms",
    "fof(g,conjecture,$true).": "Theorem",
    "fof(g,axiom,$false).": "Unsatisfiable",
}


@pytest.mark.parametrize("text", KNOWN)
def test_known_problems(text):
    assert prove(parse(text)).status == KNOWN[text]


def test_a_search_without_end_gives_up_after_the_same_steps():
    endless = parse(
        "fof(a,axiom,p(a)). fof(b,axiom,![X]:(p(X)=>p(f(X)))). fof(c,axiom,![X]:~q(X)). fof(g,conjecture,p(g(a)))."
    )
    verdict = prove(endless, steps=5000)
    assert (verdict.status, verdict.steps) == ("GaveUp", 5000)
    assert prove(endless, steps=5000) == verdict


def test_terms_that_become_too_deep_are_no_verdict(monkeypatch):
    def deep(clauses, limit):
        raise RecursionError

    monkeypatch.setattr(own, "refute", deep)
    verdict = prove(parse("fof(a,axiom,p(a))."))
    assert (verdict.status, verdict.detail) == ("GaveUp", "terms are nested too deep, by resolution")


def test_nested_equivalences_without_clauses_come_to_an_end(monkeypatch):
    monkeypatch.setattr(clauses, "MOST_VISITS", 1 << 12)
    text = "p"
    for _ in range(40):
        text = f"({text} <=> $true)"
    with pytest.raises(CapacityError, match="equivalences are nested too deep"):
        prove(parse(f"fof(a,axiom,{text})."))


def test_bad_limits_and_large_problems_are_refused():
    with pytest.raises(ParameterError, match="at least 1, got 0"):
        prove(parse("fof(a,axiom,p)."), steps=0)
    chain = " <=> ".join(["p"] * 2)
    for level in range(14):
        chain = f"({chain}) <=> (q{level} <=> r{level})"
    with pytest.raises(CapacityError, match="more than 20,000 clauses"):
        prove(parse(f"fof(a,axiom,{chain})."))
    assert own.STEPS > 0
