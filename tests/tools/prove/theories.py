"""Theories without functions, generated, and their truth by enumeration: a model is a bit of a large integer.

Over a fixed domain every ground atom is a column of the truth table, an integer of 2^atoms bits; a formula's column is
computed with &, | and ~. Nothing here uses clauses, Skolem functions or search.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from intact.tools.prove.formula import Apply, Atom, Binary, Formula, LogicProblem, Not, Quantified, Truth, Variable
from intact.tools.prove.verdict import Status

CONSTANTS = ("a", "b")
EXTRA = "c"
"""A third thing without a name: a counterexample of a conjecture for all."""


class Table:
    """The truth table over a domain."""

    def __init__(self, domain: Sequence[str], atoms: dict[str, int]) -> None:
        self.domain = domain
        names = [(name, *t) for name, n in atoms.items() for t in itertools.product(domain, repeat=n)]
        self.rows = 1 << len(names)
        self.all = (1 << self.rows) - 1
        self.columns = {}
        for place, atom in enumerate(names):
            block = ((1 << (1 << place)) - 1) << (1 << place)  # a period: zeros, then as many ones
            width = 2 << place
            while width < self.rows:
                block |= block << width
                width *= 2
            self.columns[atom] = block

    def column(self, formula: Formula, values: dict[str, str]) -> int:
        if isinstance(formula, Truth):
            return self.all if formula.value else 0
        if isinstance(formula, Atom):
            places = [values[t.name] if isinstance(t, Variable) else t.name for t in formula.arguments]
            return self.columns[(formula.name, *places)]
        if isinstance(formula, Not):
            return self.all & ~self.column(formula.body, values)
        if isinstance(formula, Quantified):
            parts = [self.column(formula.body, values | {formula.variable: one}) for one in self.domain]
            result = parts[0]
            for part in parts[1:]:
                result = result & part if formula.quantifier == "!" else result | part
            return result
        left, right = self.column(formula.left, values), self.column(formula.right, values)
        if formula.connective == "&":
            return left & right
        if formula.connective == "|":
            return left | right
        if formula.connective == "=>":
            return (self.all & ~left) | right
        return left ^ right if formula.connective == "<~>" else self.all & ~(left ^ right)


def truth(problem: LogicProblem, atoms: dict[str, int]) -> Status:
    """The status by enumeration; axioms are for all, the conjecture has at most one quantifier."""
    table = Table((*CONSTANTS, EXTRA), atoms)
    models = table.all
    for axiom in problem.axioms.values():
        models &= table.column(axiom, {})
    if problem.conjecture is None:
        return "Satisfiable" if models else "Unsatisfiable"
    if not models:
        return "ContradictoryAxioms"
    return "CounterSatisfiable" if models & ~table.column(problem.conjecture, {}) else "Theorem"


ATOMS = {"p": 1, "q": 1, "r": 2}


def _matrix(draw: random.Random, depth: int, variables: Sequence[str]) -> Formula:
    if depth == 0 or draw.random() < 0.15:
        name = draw.choice(list(ATOMS))
        terms = [Variable(v) for v in variables] + [Apply(c) for c in CONSTANTS]
        return Atom(name, tuple(draw.choice(terms) for _ in range(ATOMS[name])))
    if draw.random() < 0.25:
        return Not(_matrix(draw, depth - 1, variables))
    connective = draw.choice(["&", "|", "|", "=>", "=>", "<=>", "<~>"])
    return Binary(connective, _matrix(draw, depth - 1, variables), _matrix(draw, depth - 1, variables))


def formulas_theory(seed: int) -> LogicProblem:
    """Axioms for all of up to two variables, with connectives up to five deep."""
    draw = random.Random(f"formulas {seed}")
    axioms = {}
    for number in range(draw.randint(2, 5)):
        variables = ["X", "Y"][: draw.randint(0, 2)]
        body = _matrix(draw, draw.randint(1, 5), variables)
        for variable in variables:
            body = Quantified("!", variable, body)
        axioms[f"a{number}"] = body
    conjecture = _matrix(draw, draw.randint(0, 3), ["X"])
    return LogicProblem(axioms, Quantified(draw.choice("!?"), "X", conjecture))


CHAIN = {f"s{level}": 1 for level in range(6)}


def rules_theory(seed: int) -> tuple[LogicProblem, int]:
    """Facts and rules; a chain of rules leads to the conjecture, or to its negation, or breaks off. Also its depth."""
    draw = random.Random(f"rules {seed}")
    depth = seed % 6
    axioms: dict[str, Formula] = {"fact": Atom("s0", (Apply("a"),))}
    if draw.random() < 0.5:
        axioms["other"] = Not(Atom("s0", (Apply("b"),)))
    broken = draw.randint(1, 5) if draw.random() < 0.4 else None
    for level in range(1, depth + 1):
        if level == broken:
            continue
        body: Formula = Atom(f"s{level - 1}", (Variable("X"),))
        if level >= 2 and draw.random() < 0.5:
            body = Binary("&", body, Atom(f"s{level - 2}", (Variable("X"),)))
        head: Formula = Atom(f"s{level}", (Variable("X"),))
        if level == depth and draw.random() < 0.3:
            head = Not(head)
        axioms[f"rule{level}"] = Quantified("!", "X", Binary("=>", body, head))
    for number in range(draw.randint(0, 3)):
        low, high = sorted(draw.sample(range(6), 2))
        rule = Binary("=>", Not(Atom(f"s{high}", (Variable("X"),))), Atom(f"s{low}", (Variable("X"),)))
        axioms[f"noise{number}"] = Quantified("!", "X", rule)
    return LogicProblem(axioms, Atom(f"s{depth}", (Apply(draw.choice("aab")),))), depth
