"""The built-in prover: always available, deterministic, complete for problems without functions, limited by steps."""

from __future__ import annotations

from typing import Any, Final

from intact._base.errors import CapacityError, ParameterError
from intact.tools.prove.clauses import MOST_CLAUSES, Clause, ClauseMaker, has_equality
from intact.tools.prove.formula import LogicProblem, Not
from intact.tools.prove.search import refute
from intact.tools.prove.verdict import ProverVerdict

NAME: Final = "intact"
STEPS: Final = 2_000_000
"""Default step limit for each of the two searches that a problem may need; about ten seconds."""


def clauses_of(problem: LogicProblem) -> tuple[list[Clause], list[Clause]]:
    """Return the clauses of the axioms, and of the axioms with the negated conjecture.

    Raises
    ------
    CapacityError
        If there are more than `clauses.MOST_CLAUSES` clauses.
    """
    maker = ClauseMaker(problem.formulas)
    axioms = [clause for axiom in problem.axioms.values() for clause in maker.clauses(axiom)]
    every = list(axioms)
    if problem.conjecture is not None:
        every += maker.clauses(Not(problem.conjecture))
    if len(every) > MOST_CLAUSES:
        raise CapacityError(f"a problem may have at most {MOST_CLAUSES:,} clauses, this one has {len(every):,}")
    equality = maker.equality() if has_equality(every) else []
    return (axioms + equality if has_equality(axioms) else axioms), every + equality


def prove(problem: LogicProblem, steps: int = STEPS) -> ProverVerdict:
    """Return the built-in prover's verdict on a problem.

    It searches for a contradiction between the axioms and the negated conjecture; if it finds one, it searches again
    among the axioms only.

    Parameters
    ----------
    steps : int
        Maximum number of steps of each search.

    Raises
    ------
    ParameterError
        If `steps` is less than 1.
    CapacityError
        If the problem has too many clauses.
    """
    if steps < 1:
        raise ParameterError(f"steps must be at least 1, got {steps}")
    axioms, every = clauses_of(problem)
    first = _refute(every, steps)
    second = _refute(axioms, steps) if first["answer"] == "unsatisfiable" and problem.conjecture is not None else None
    return conclude(problem.conjecture is not None, first, second)


def _refute(clauses: list[Clause], steps: int) -> dict[str, Any]:
    """Return the result of `search.refute`; terms nested too deeply for it count as a reached limit."""
    try:
        return refute(clauses, steps)
    except RecursionError:
        return {"answer": "limit", "by": "resolution", "steps": None}


def conclude(conjectured: bool, first: dict[str, Any], second: dict[str, Any] | None) -> ProverVerdict:
    """Derive the verdict from the results of `search.refute`.

    Parameters
    ----------
    conjectured : bool
        If true, the problem has a conjecture.
    first, second : dict
        Results for the axioms with the negated conjecture and, if those are contradictory, for the axioms only. Their
        `steps` are None if terms were nested too deeply.
    """
    by = first["by"]
    if first["steps"] is None:
        return ProverVerdict(NAME, "GaveUp", detail=f"terms are nested too deep, by {by}")
    steps = first["steps"] + (0 if second is None else second["steps"] or 0)
    if first["answer"] == "limit":
        return ProverVerdict(NAME, "GaveUp", detail=f"limit of {first['steps']:,} steps, by {by}", steps=steps)
    if first["answer"] == "satisfiable":
        return ProverVerdict(
            NAME, "CounterSatisfiable" if conjectured else "Satisfiable", detail=f"by {by}", steps=steps
        )
    if not conjectured:
        return ProverVerdict(NAME, "Unsatisfiable", detail=f"by {by}", steps=steps)
    if second is not None and second["answer"] == "unsatisfiable":
        return ProverVerdict(NAME, "ContradictoryAxioms", detail=f"by {by}", steps=steps)
    open_ = second is None or second["answer"] == "limit"
    detail = f"by {by}" + ("; the axioms alone may contradict each other" if open_ else "")
    return ProverVerdict(NAME, "Theorem", detail=detail, steps=steps)
