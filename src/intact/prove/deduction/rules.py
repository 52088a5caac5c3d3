"""Rules of forward deduction, made of formulas: premises that are literals, and a literal that follows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final, NamedTuple

from intact.errors import FormatError
from intact.prove.formula import EQUALS, Apply, Atom, Binary, Formula, Not, Quantified, Term, Truth, Variable, subterms
from intact.prove.tptp import format_term

MOST_RULES: Final = 2_000
"""The most rules of a theory."""


class Fact(NamedTuple):
    """A literal: an atom, or its negation; with variables it is a pattern."""

    positive: bool
    name: str
    arguments: tuple[Term, ...]

    def __str__(self) -> str:
        """Return it as TPTP writes it."""
        if self.name == EQUALS:
            return f" {'=' if self.positive else '!='} ".join(map(format_term, self.arguments))
        return ("" if self.positive else "~ ") + format_term(Apply(self.name, self.arguments))

    @property
    def variables(self) -> list[str]:
        """Its variables, each once."""
        terms = [term for argument in self.arguments for term in subterms(argument)]
        return list(dict.fromkeys(term.name for term in terms if isinstance(term, Variable)))

    def under(self, values: dict[str, Term]) -> Fact:
        """Return it with terms for variables."""
        return Fact(self.positive, self.name, tuple([replaced(term, values) for term in self.arguments]))


class HornRule(NamedTuple):
    """For all values of the variables: where the premises hold, the head does."""

    name: str
    premises: tuple[Fact, ...]
    head: Fact

    def __str__(self) -> str:
        """Return it on one line."""
        return " & ".join(map(str, self.premises)) + (" => " if self.premises else "") + str(self.head)


def replaced(term: Term, values: dict[str, Term]) -> Term:
    """Return a term with terms for variables; others stay."""
    if isinstance(term, Variable):
        return values.get(term.name, term)
    return Apply(term.name, tuple([replaced(argument, values) for argument in term.arguments]))


def rules_of(name: str, formula: Formula) -> list[HornRule]:
    """Return the rules that a closed formula is.

    A conjunction is several rules, an equivalence is two, nested implications are one with all their premises, and
    "there is" in a head becomes a witness: a function of the variables before it, named after the formula.

    Raises
    ------
    FormatError
        If it is no such formula, as with a disjunction in a head; the message names what cannot be a rule.
    """
    witnesses = (f"witness_{name}_{number}" for number in count(1))
    rules = []
    for premises, head in _split(formula, (), {}, (), witnesses, name, count(1)):
        rules.append(HornRule(name, premises, head))
        if len(rules) > MOST_RULES:
            raise FormatError(f"{name}: a formula may be {MOST_RULES:,} rules")
    return rules


def _split(
    formula: Formula,
    premises: tuple[Fact, ...],
    values: dict[str, Term],
    universal: tuple[Term, ...],
    witnesses: Iterator[str],
    name: str,
    numbers: count[int],
) -> Iterator[tuple[tuple[Fact, ...], Fact]]:
    """Yield premises and head of each rule that a formula in the place of a head is."""
    if isinstance(formula, Quantified):
        if formula.quantifier == "!":
            value: Term = Variable(formula.variable)
            if value in universal:  # two quantifiers of one name
                value = Variable(f"{formula.variable}_{next(numbers)}")
            scope = (*universal, value)
        else:
            value, scope = Apply(next(witnesses), universal), universal
        yield from _split(formula.body, premises, values | {formula.variable: value}, scope, witnesses, name, numbers)
    elif isinstance(formula, Binary) and formula.connective == "&":
        for side in (formula.left, formula.right):
            yield from _split(side, premises, values, universal, witnesses, name, numbers)
    elif isinstance(formula, Binary) and formula.connective == "=>":
        more = tuple(_literals(formula.left, values, name))
        yield from _split(formula.right, premises + more, values, universal, witnesses, name, numbers)
    elif isinstance(formula, Binary) and formula.connective == "<=>":
        for left, right in ((formula.left, formula.right), (formula.right, formula.left)):
            more = tuple(_literals(left, values, name))
            yield from _split(right, premises + more, values, universal, witnesses, name, numbers)
    else:
        yield premises, _literal(formula, values, name)


def _literals(formula: Formula, values: dict[str, Term], name: str) -> Iterator[Fact]:
    if isinstance(formula, Binary) and formula.connective == "&":
        yield from _literals(formula.left, values, name)
        yield from _literals(formula.right, values, name)
    elif isinstance(formula, Quantified) and formula.quantifier == "?":
        yield from _literals(formula.body, values | {formula.variable: Variable(f"{formula.variable}_")}, name)
    elif formula != Truth(True):
        yield _literal(formula, values, name)


def _literal(formula: Formula, values: dict[str, Term], name: str) -> Fact:
    body = formula.body if isinstance(formula, Not) else formula
    if not isinstance(body, Atom):
        kind = {"|": "a disjunction", "<~>": "an exclusive or", "?": "there is", "!": "for all"}
        mark = body.connective if isinstance(body, Binary) else body.quantifier if isinstance(body, Quantified) else ""
        found = f"a negated formula, {kind.get(mark, mark or 'a constant')}" if body is not formula else kind.get(mark)
        raise FormatError(
            f"{name} is no rule: {found or mark or 'a truth value'} stands where an atom or its negation must; "
            "rules are ((premise & premise) => head), for all their variables"
        )
    arguments = tuple([replaced(argument, values) for argument in body.arguments])
    return Fact(body is formula, body.name, arguments)
