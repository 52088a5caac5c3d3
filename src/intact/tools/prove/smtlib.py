"""SMT-LIB 2, the language of Z3 and cvc5: a writer for problems, in which all terms have a single sort."""

from __future__ import annotations

from intact.tools.prove.formula import (
    EQUALS,
    Apply,
    Atom,
    Formula,
    LogicProblem,
    Not,
    Quantified,
    Term,
    Truth,
    Variable,
    functions,
    predicates,
)

_CONNECTIVES = {"&": "and", "|": "or", "=>": "=>", "<=>": "=", "<~>": "xor"}


def format_problem(problem: LogicProblem) -> str:
    """Write a problem that has no model if and only if the conjecture follows or the axioms are contradictory."""
    constants: dict[str, int] = {}
    relations: dict[str, int] = {}
    for formula in problem.formulas:
        constants |= functions(formula)
        relations |= predicates(formula)
    names = {name: f"s{number}" for number, name in enumerate([*constants, *relations])}
    lines = ["(set-logic UF)", "(declare-sort U 0)"]
    lines += [f"(declare-fun {names[name]} ({' '.join('U' * n)}) U)" for name, n in constants.items()]
    lines += [f"(declare-fun {names[name]} ({' '.join('U' * n)}) Bool)" for name, n in relations.items()]
    lines += [f"(assert {_formula(axiom, names, {})})" for axiom in problem.axioms.values()]
    if problem.conjecture is not None:
        lines.append(f"(assert {_formula(Not(problem.conjecture), names, {})})")
    return "\n".join([*lines, "(check-sat)", ""])


def _formula(formula: Formula, names: dict[str, str], bound: dict[str, str]) -> str:
    if isinstance(formula, Truth):
        return "true" if formula.value else "false"
    if isinstance(formula, Atom):
        head = "=" if formula.name == EQUALS else names[formula.name]
        arguments = " ".join([_term(term, names, bound) for term in formula.arguments])
        return f"({head} {arguments})" if arguments else head
    if isinstance(formula, Not):
        return f"(not {_formula(formula.body, names, bound)})"
    if isinstance(formula, Quantified):
        variable = f"v{len(bound)}_{formula.quantifier == '!':d}"
        body = _formula(formula.body, names, bound | {formula.variable: variable})
        return f"({'forall' if formula.quantifier == '!' else 'exists'} (({variable} U)) {body})"
    left, right = _formula(formula.left, names, bound), _formula(formula.right, names, bound)
    return f"({_CONNECTIVES[formula.connective]} {left} {right})"


def _term(term: Term, names: dict[str, str], bound: dict[str, str]) -> str:
    if isinstance(term, Variable):
        return bound[term.name]
    assert isinstance(term, Apply)
    arguments = " ".join([_term(argument, names, bound) for argument in term.arguments])
    return f"({names[term.name]} {arguments})" if arguments else names[term.name]
