"""Formulas of first-order logic with equality, as immutable values, with general operations on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

EQUALS: Final = "="
"""Name of the equality predicate."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable; its scope is the quantifier that binds its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A function applied to arguments, or a constant, which has no arguments."""

    name: str
    arguments: tuple[Term, ...] = ()


Term: TypeAlias = Variable | Apply


@dataclass(frozen=True, slots=True)
class Truth:
    """The formula that is always true, or the formula that is always false."""

    value: bool


@dataclass(frozen=True, slots=True)
class Atom:
    """A predicate applied to terms; equality is the predicate `EQUALS` with two arguments."""

    name: str
    arguments: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """A negation."""

    body: Formula


Connective: TypeAlias = Literal["&", "|", "=>", "<=>", "<~>"]
"""And, or, implies, equivalent, exclusive or, in TPTP notation."""


@dataclass(frozen=True, slots=True)
class Binary:
    """Two formulas joined by a connective."""

    connective: Connective
    left: Formula
    right: Formula


@dataclass(frozen=True, slots=True)
class Quantified:
    """A formula quantified over all (`!`) or some (`?`) values of a variable."""

    quantifier: Literal["!", "?"]
    variable: str
    body: Formula


Formula: TypeAlias = Truth | Atom | Not | Binary | Quantified


@dataclass(frozen=True)
class LogicProblem:
    """Axioms and a conjecture that may follow from them.

    Attributes
    ----------
    axioms : mapping of str to Formula
        Closed formulas by name, in file order.
    conjecture : Formula or None
        Closed formula; if None, the question is whether the axioms are satisfiable.
    """

    axioms: Mapping[str, Formula]
    conjecture: Formula | None = None

    @cached_property
    def formulas(self) -> tuple[Formula, ...]:
        """The axioms, followed by the conjecture."""
        return (*self.axioms.values(), *([] if self.conjecture is None else [self.conjecture]))


def joined(connective: Literal["&", "|"], formulas: Sequence[Formula]) -> Formula:
    """Join formulas with one connective, as a balanced tree; an empty sequence gives the neutral element."""
    if not formulas:
        return Truth(connective == "&")
    if len(formulas) == 1:
        return formulas[0]
    middle = (len(formulas) + 1) // 2
    return Binary(connective, joined(connective, formulas[:middle]), joined(connective, formulas[middle:]))


def depth(formula: Formula) -> int:
    """Return the maximum nesting depth of a formula."""
    deepest, stack = 0, [(formula, 1)]
    while stack:
        one, level = stack.pop()
        deepest = max(deepest, level)
        if isinstance(one, Binary):
            stack += [(one.right, level + 1), (one.left, level + 1)]
        elif isinstance(one, Not | Quantified):
            stack.append((one.body, level + 1))
    return deepest


def subformulas(formula: Formula) -> Iterator[Formula]:
    """Yield a formula and all its subformulas, in preorder."""
    stack = [formula]
    while stack:
        one = stack.pop()
        yield one
        if isinstance(one, Binary):
            stack += [one.right, one.left]
        elif isinstance(one, Not | Quantified):
            stack.append(one.body)


def subterms(term: Term) -> Iterator[Term]:
    """Yield a term and all its subterms, in preorder."""
    stack = [term]
    while stack:
        one = stack.pop()
        yield one
        if isinstance(one, Apply):
            stack += reversed(one.arguments)


def free_variables(formula: Formula) -> list[str]:
    """Return the free variables, without duplicates, in order of first occurrence."""
    found: dict[str, None] = {}
    stack: list[tuple[Formula, frozenset[str]]] = [(formula, frozenset())]
    while stack:
        one, bound = stack.pop()
        if isinstance(one, Atom):
            for argument in one.arguments:
                for term in subterms(argument):
                    if isinstance(term, Variable) and term.name not in bound:
                        found[term.name] = None
        elif isinstance(one, Binary):
            stack += [(one.right, bound), (one.left, bound)]
        elif isinstance(one, Quantified):
            stack.append((one.body, bound | {one.variable}))
        elif isinstance(one, Not):
            stack.append((one.body, bound))
    return list(found)


def closed(formula: Formula) -> Formula:
    """Return the universal closure of a formula."""
    for variable in reversed(free_variables(formula)):
        formula = Quantified("!", variable, formula)
    return formula


def predicates(formula: Formula) -> dict[str, int]:
    """Return the predicates of a formula with their numbers of arguments, except equality."""
    atoms = [one for one in subformulas(formula) if isinstance(one, Atom) and one.name != EQUALS]
    return {atom.name: len(atom.arguments) for atom in atoms}


def functions(formula: Formula) -> dict[str, int]:
    """Return the functions and constants of a formula with their numbers of arguments."""
    atoms = [one for one in subformulas(formula) if isinstance(one, Atom)]
    terms = [term for atom in atoms for argument in atom.arguments for term in subterms(argument)]
    return {term.name: len(term.arguments) for term in terms if isinstance(term, Apply)}
