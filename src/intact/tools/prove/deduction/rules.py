"""Rules of forward deduction, derived from formulas: literals as premises, and a literal that follows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Final, NamedTuple

from intact._base.errors import FormatError
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
    subterms,
)
from intact.tools.prove.tptp import format_term

MOST_RULES: Final = 2_000
"""Maximum number of rules from one formula."""
MOST_PREMISES: Final = 250
"""Maximum number of premises in a rule, and of arguments to its predicates and functions."""


class Fact(NamedTuple):
    """A literal: an atom or its negation; a pattern if it has variables."""

    positive: bool
    name: str
    arguments: tuple[Term, ...]

    def __str__(self) -> str:
        """Return the literal in TPTP notation."""
        if self.name == EQUALS:
            return f" {'=' if self.positive else '!='} ".join(map(format_term, self.arguments))
        return ("" if self.positive else "~ ") + format_term(Apply(self.name, self.arguments))

    @property
    def variables(self) -> list[str]:
        """The variables in the literal, without duplicates."""
        terms = [term for argument in self.arguments for term in subterms(argument)]
        return list(dict.fromkeys(term.name for term in terms if isinstance(term, Variable)))

    def under(self, values: dict[str, Term]) -> Fact:
        """Substitute terms for variables."""
        return Fact(self.positive, self.name, tuple([replaced(term, values) for term in self.arguments]))


class HornRule(NamedTuple):
    """A rule: for all values of its variables, if the premises hold, so does the head."""

    name: str
    premises: tuple[Fact, ...]
    head: Fact

    def __str__(self) -> str:
        """Return the rule on one line."""
        return " & ".join(map(str, self.premises)) + (" => " if self.premises else "") + str(self.head)


def replaced(term: Term, values: dict[str, Term]) -> Term:
    """Substitute terms for variables; other variables are kept."""
    if isinstance(term, Variable):
        return values.get(term.name, term)
    return Apply(term.name, tuple([replaced(argument, values) for argument in term.arguments]))


def rules_of(name: str, formula: Formula, symbols: Collection[str] = ()) -> list[HornRule]:
    """Convert a closed formula to rules.

    A conjunction becomes several rules, an equivalence two, and nested implications become one rule with all their
    premises. An existential quantifier in a head becomes a witness: a function of the variables before it, named after
    the formula.

    Parameters
    ----------
    symbols : collection of str
        Reserved names that no witness may have: the symbols of all formulas.

    Raises
    ------
    FormatError
        If the formula cannot be converted, for example because of a disjunction in a head. The message names the
        offending part.
    """
    witnesses = (witness for number in count(1) if (witness := f"witness_{name}_{number}") not in symbols)
    rules = []
    for premises, head in _split(
        formula, (), {}, (), used=frozenset(), witnesses=witnesses, name=name, numbers=count(1)
    ):
        _check_size(name, premises, head)
        rules.append(HornRule(name, premises, head))
        if len(rules) > MOST_RULES:
            raise FormatError(f"{name}: a formula may give at most {MOST_RULES:,} rules")
    return rules


def _check_size(name: str, premises: tuple[Fact, ...], head: Fact) -> None:
    """Raise if a rule is too large to match."""
    terms = [term for fact in (*premises, head) for argument in fact.arguments for term in subterms(argument)]
    widest = max([len(one.arguments) for one in (*premises, head, *terms) if not isinstance(one, Variable)])
    if max(len(premises), widest) > MOST_PREMISES:
        raise FormatError(f"{name}: a rule may have {MOST_PREMISES} premises, and a symbol as many arguments")


def _split(
    formula: Formula,
    premises: tuple[Fact, ...],
    values: dict[str, Term],
    universal: tuple[Term, ...],
    used: frozenset[str],
    witnesses: Iterator[str],
    name: str,
    numbers: count[int],
) -> Iterator[tuple[tuple[Fact, ...], Fact]]:
    """Yield the premises and head of each rule that follows from a formula in head position.

    `used` holds the rule's variables so far: two quantifiers with the same name become two variables.
    """
    if isinstance(formula, Quantified):
        if formula.quantifier == "!":
            variable = formula.variable
            while variable in used:
                variable = f"{formula.variable}_{next(numbers)}"
            value: Term = Variable(variable)
            scope, used = (*universal, value), used | {variable}
        else:
            value, scope = Apply(next(witnesses), universal), universal
        inner = values | {formula.variable: value}
        yield from _split(
            formula.body, premises, inner, scope, used=used, witnesses=witnesses, name=name, numbers=numbers
        )
    elif isinstance(formula, Binary) and formula.connective == "&":
        for side in (formula.left, formula.right):
            yield from _split(
                side, premises, values, universal, used=used, witnesses=witnesses, name=name, numbers=numbers
            )
    elif isinstance(formula, Binary) and formula.connective in ("=>", "<=>"):
        sides = [(formula.left, formula.right)]
        if formula.connective == "<=>":
            sides.append((formula.right, formula.left))
        for left, right in sides:
            names = set(used)
            every = (*premises, *_literals(left, values, names, name))
            yield from _split(
                right, every, values, universal, used=frozenset(names), witnesses=witnesses, name=name, numbers=numbers
            )
    else:
        yield premises, _literal(formula, values, name)


def _literals(formula: Formula, values: dict[str, Term], used: set[str], name: str) -> Iterator[Fact]:
    """Yield the premises in a formula; existential variables get unused names, which are added to `used`."""
    if isinstance(formula, Binary) and formula.connective == "&":
        yield from _literals(formula.left, values, used, name)
        yield from _literals(formula.right, values, used, name)
    elif isinstance(formula, Quantified) and formula.quantifier == "?":
        variable = f"{formula.variable}_"
        while variable in used:
            variable += "_"
        used.add(variable)
        yield from _literals(formula.body, values | {formula.variable: Variable(variable)}, used, name)
    elif formula != Truth(True):
        yield _literal(formula, values, name)


def _literal(formula: Formula, values: dict[str, Term], name: str) -> Fact:
    body = formula.body if isinstance(formula, Not) else formula
    if not isinstance(body, Atom):
        kind = {"|": "a disjunction", "<~>": "an exclusive or", "?": "an existential", "!": "a universal"}
        mark = body.connective if isinstance(body, Binary) else body.quantifier if isinstance(body, Quantified) else ""
        found = f"a negated formula, {kind.get(mark, mark or 'a constant')}" if body is not formula else kind.get(mark)
        raise FormatError(
            f"{name} is not a rule: found {found or mark or 'a truth value'}, expected an atom or its negation; "
            "rules have the form ((premise & premise) => head), for all their variables"
        )
    arguments = tuple([replaced(argument, values) for argument in body.arguments])
    return Fact(body is formula, body.name, arguments)
