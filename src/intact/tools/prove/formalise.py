"""Formulas written by a model, one per sentence: the grammar for each formula, and the problem that they form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from intact._base.errors import FormatError
from intact.tools.prove.clauses import ClauseMaker, has_equality
from intact.tools.prove.formula import Atom, Binary, Formula, Not, Quantified, predicates
from intact.tools.prove.tptp import parse_formula

ARGUMENTS: Final = 3
"""Maximum number of terms in an atom that the grammar allows."""

_GRAMMAR: Final = r"""
start: formula "\n"
formula: unit | unit _pair unit | unit (" & " unit)+ | unit (" | " unit)+
_pair: " => " | " <=> " | " <~> "
unit: atom | "~" unit | "(" formula ")" | _quantifier VARIABLE ("," VARIABLE)? "]: " unit
_quantifier: "![" | "?["
atom: ATOMS
term: NAME | VARIABLE
VARIABLE: "X" | "Y" | "Z"
NAME: /[a-z][a-z0-9_]{0,23}/
"""


def grammar(known: Mapping[str, int] | None = None) -> str:
    """Return the grammar of a formula and the end of its line, in Lark notation, for `Extend(grammar=...)`.

    The grammar covers part of TPTP: atoms with one to `ARGUMENTS` variables and constants, and the variables X, Y and
    Z. A grammar cannot check that a name is used consistently; `read_formula` does.

    Parameters
    ----------
    known : mapping of str to int, optional
        Predicates that may be used, with their numbers of arguments; by default, any predicate.
    """
    if known:
        atoms = [f'"{name}(" {_terms(count)} ")"' for name, count in known.items()]
    else:
        atoms = [f'NAME "(" {_terms(count)} ")"' for count in range(1, ARGUMENTS + 1)]
    return _GRAMMAR.strip().replace("ATOMS", " | ".join(atoms)) + "\n"


def _terms(count: int) -> str:
    return ' "," '.join(["term"] * count)


def read_formula(text: str) -> Formula | None:
    """Parse the formula on a line; return None if the formula is incomplete or uses a name inconsistently.

    Variables that are not bound by a quantifier are universally quantified. Predicates are named by their name and
    number of arguments, such as `likes/2`, since a model may use one name for two predicates.
    """
    line, end, _ = text.partition("\n")
    if not end:
        return None
    try:
        return _named(parse_formula(line, close=True))
    except FormatError:
        return None


def _named(formula: Formula) -> Formula:
    if isinstance(formula, Atom):
        return Atom(f"{formula.name}/{len(formula.arguments)}", formula.arguments)
    if isinstance(formula, Not):
        return Not(_named(formula.body))
    if isinstance(formula, Quantified):
        return Quantified(formula.quantifier, formula.variable, _named(formula.body))
    if isinstance(formula, Binary):
        return Binary(formula.connective, _named(formula.left), _named(formula.right))
    return formula


def predicates_of(formulas: Sequence[Formula]) -> dict[str, int]:
    """Return the predicates in formulas from `read_formula`, under their original names.

    If a name occurs with several numbers of arguments, the last one counts.
    """
    found: dict[str, int] = {}
    for formula in formulas:
        found |= {name.rpartition("/")[0]: count for name, count in predicates(formula).items()}
    return found


Finding: TypeAlias = Literal["True", "False", "Uncertain", "Inconsistent", "Limit"]
"""In order: the conclusion follows; its negation follows; neither does; both do, because the premises are
contradictory; the step limit was reached.
"""

QUERIES: Final = 3


@cache
def program() -> str:
    """Return the program that searches for contradictions in the sandbox: the source text of `search`."""
    return Path(__file__).with_name("search.py").read_text("utf-8")


def queries(premises: Sequence[Formula], conclusion: Formula, steps: int) -> str:
    """Return the program's input: queries for contradictions with the negated conclusion, the conclusion, and neither.

    Parameters
    ----------
    steps : int
        Maximum number of steps of each of the three searches.

    Raises
    ------
    CapacityError
        If a formula has too many clauses.
    """
    lines = []
    for extra in ((Not(conclusion),), (conclusion,), ()):
        formulas = (*premises, *extra)
        maker = ClauseMaker(formulas)
        clauses = [clause for formula in formulas for clause in maker.clauses(formula)]
        if has_equality(clauses):
            clauses += maker.equality()
        lines.append(json.dumps({"clauses": clauses, "limit": steps}))
    return "\n".join(lines) + "\n"


def read_answers(text: str) -> Finding:
    """Interpret the program's output; missing answers mean that the program reached a limit."""
    answers: list[dict[str, Any]] = []
    for line in text.splitlines()[:QUERIES]:
        try:
            answers.append(json.loads(line))
        except ValueError:
            break
    proved, refuted, alone = [one["answer"] for one in answers] + ["limit"] * (QUERIES - len(answers))
    if alone == "unsatisfiable":
        return "Inconsistent"
    if proved == "unsatisfiable":
        return "True"
    if refuted == "unsatisfiable":
        return "False"
    return "Uncertain" if proved == refuted == "satisfiable" else "Limit"
