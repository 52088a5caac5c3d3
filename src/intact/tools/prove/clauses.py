"""Conversion of formulas to clauses: negation normal form, Skolem functions, distribution, and the equality axioms."""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from intact._base.errors import CapacityError
from intact.tools.prove.formula import (
    EQUALS,
    Apply,
    Atom,
    Binary,
    Formula,
    Not,
    Quantified,
    Term,
    Truth,
    Variable,
    functions,
    predicates,
)

MOST_CLAUSES: Final = 20_000
"""Maximum number of clauses in a problem, and in any formula during conversion."""
MOST_VISITS: Final = 1 << 22
"""Maximum number of formulas visited during conversion: each side of an equivalence counts twice."""

Clause = list[Any]
"""A disjunction of literals [positive, predicate, arguments], where an argument is a variable's number or [function,
...]: the JSON form that `search` reads.
"""


class ClauseMaker:
    """Converter from formulas to clauses; Skolem functions get names that do not occur in the problem.

    Parameters
    ----------
    formulas : tuple of Formula
        All formulas of the problem, whose symbols are reserved.
    """

    def __init__(self, formulas: tuple[Formula, ...]) -> None:
        self.functions: dict[str, int] = {}
        self.predicates: dict[str, int] = {}
        for formula in formulas:
            self.functions |= functions(formula)
            self.predicates |= predicates(formula)
        taken = {*self.functions, *self.predicates}
        self._visits = 0
        self._fresh = (name for number in count(1) if (name := f"sk{number}") not in taken)

    def clauses(self, formula: Formula) -> list[Clause]:
        """Return clauses that are satisfiable if and only if a closed formula is.

        Raises
        ------
        CapacityError
            If there would be more than `MOST_CLAUSES` clauses, or equivalences are nested too deeply.
        """
        numbers = count()
        return self._clauses(formula, True, {}, (), numbers=numbers)

    def _clauses(
        self, formula: Formula, positive: bool, bound: dict[str, Any], universal: tuple[int, ...], numbers: count[int]
    ) -> list[Clause]:
        """Return the clauses of a formula or of its negation, under an assignment of variables."""
        self._visits += 1
        if self._visits > MOST_VISITS:
            raise CapacityError("equivalences are nested too deeply to be converted to clauses")
        if isinstance(formula, Truth):
            return [] if formula.value == positive else [[]]
        if isinstance(formula, Atom):
            return [[[positive, formula.name, [_term(argument, bound) for argument in formula.arguments]]]]
        if isinstance(formula, Not):
            return self._clauses(formula.body, not positive, bound, universal, numbers=numbers)
        if isinstance(formula, Quantified):
            if (formula.quantifier == "!") == positive:
                number = next(numbers)
                return self._clauses(
                    formula.body, positive, bound | {formula.variable: number}, (*universal, number), numbers=numbers
                )
            name = next(self._fresh)
            self.functions[name] = len(universal)
            value = [name, *universal]
            return self._clauses(formula.body, positive, bound | {formula.variable: value}, universal, numbers=numbers)
        return self._binary(formula, positive, bound, universal, numbers=numbers)

    def _binary(
        self, formula: Binary, positive: bool, bound: dict[str, Any], universal: tuple[int, ...], numbers: count[int]
    ) -> list[Clause]:
        def side(which: Formula, holds: bool) -> list[Clause]:
            return self._clauses(which, holds, bound, universal, numbers=numbers)

        left, right, connective = formula.left, formula.right, formula.connective
        if connective in ("<=>", "<~>"):
            same = (connective == "<=>") == positive
            first = _either(side(left, False), side(right, same))
            return _limited(first + _either(side(left, True), side(right, not same)))
        if connective == "=>":
            return _either(side(left, False), side(right, True)) if positive else side(left, True) + side(right, False)
        if (connective == "&") == positive:
            return _limited(side(left, positive) + side(right, positive))
        return _either(side(left, positive), side(right, positive))

    def equality(self) -> list[Clause]:
        """Return the equality axioms for the symbols encountered so far."""
        clauses: list[Clause] = [
            [[True, EQUALS, [0, 0]]],
            [[False, EQUALS, [0, 1]], [True, EQUALS, [1, 0]]],
            [[False, EQUALS, [0, 1]], [False, EQUALS, [1, 2]], [True, EQUALS, [0, 2]]],
        ]
        for name, arity in self.functions.items():
            for place in range(arity):
                left, right = _replaced(arity, place)
                clauses.append([[False, EQUALS, [0, 1]], [True, EQUALS, [[name, *left], [name, *right]]]])
        for name, arity in self.predicates.items():
            for place in range(arity):
                left, right = _replaced(arity, place)
                clauses.append([[False, EQUALS, [0, 1]], [False, name, left], [True, name, right]])
        return clauses


def _replaced(arity: int, place: int) -> tuple[list[int], list[int]]:
    """Return two lists of variables that differ in one position: it holds 0 in the first list and 1 in the second."""
    others = list(range(2, arity + 1))
    return [*others[:place], 0, *others[place:]], [*others[:place], 1, *others[place:]]


def _either(left: list[Clause], right: list[Clause]) -> list[Clause]:
    if len(left) * len(right) > MOST_CLAUSES:
        raise CapacityError(f"a formula has more than {MOST_CLAUSES:,} clauses")
    return [_merged(one + other) for one in left for other in right]


def _merged(literals: Clause) -> Clause:
    """Return a clause without duplicate literals."""
    return [literal for place, literal in enumerate(literals) if literal not in literals[:place]]


def _limited(clauses: list[Clause]) -> list[Clause]:
    if len(clauses) > MOST_CLAUSES:
        raise CapacityError(f"a formula has more than {MOST_CLAUSES:,} clauses")
    return clauses


def _term(term: Term, bound: dict[str, Any]) -> Any:
    if isinstance(term, Variable):
        return bound[term.name]
    assert isinstance(term, Apply)
    return [term.name, *[_term(argument, bound) for argument in term.arguments]]


def has_equality(clauses: list[Clause]) -> bool:
    """Return true if a clause contains an equation or its negation."""
    return any(literal[1] == EQUALS for clause in clauses for literal in clause)
