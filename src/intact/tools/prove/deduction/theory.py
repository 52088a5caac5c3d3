"""Deduction from a theory: all consequences of its axioms, then proofs of its goals, by induction where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from intact._base.errors import FormatError, ParameterError
from intact.tools.prove.deduction.block import HIGHEST, MOST_HEIGHT, Deducer, FactBlock
from intact.tools.prove.deduction.rules import Fact, HornRule, rules_of
from intact.tools.prove.formula import Apply, Formula, Term, Variable, functions, predicates
from intact.tools.prove.tptp import NamedFormula, format_formula, format_term


class Induction(NamedTuple):
    """The constant and the function from which everything is built.

    A goal that holds for `zero`, and for the `successor` of everything for which it holds, holds for everything.
    """

    zero: str
    successor: str


@dataclass(frozen=True)
class GoalBlock:
    """A block opened for a goal.

    Attributes
    ----------
    name : str
        "direct", "base" or "step".
    variable : str
        Variable of the induction.
    constants : dict
        Term that represents each of the goal's variables.
    given : tuple of Fact
        Premises of the goal.
    goal : Fact
        Head of the goal.
    hypothesis : HornRule or None
        For a step: the goal for the predecessor, as a rule of this block only.
    """

    name: str
    variable: str
    constants: dict[str, Term]
    given: tuple[Fact, ...]
    goal: Fact
    hypothesis: HornRule | None
    block: FactBlock

    @property
    def proved(self) -> bool:
        """If true, the goal was reached, or the given facts contradict each other."""
        return self.block.reached is not None or self.block.contradiction is not None


@dataclass(frozen=True)
class Goal:
    """A goal with its proof, or with the blocks in which it was not reached.

    Attributes
    ----------
    by : str
        "direct", "induction", or "" if open.
    earlier : tuple of str
        Goals proved earlier, which serve as rules for this one.
    """

    name: str
    formula: Formula
    by: str
    cases: tuple[GoalBlock, ...]
    earlier: tuple[str, ...]


@dataclass(frozen=True)
class Deduction:
    """The result of a deduction.

    Attributes
    ----------
    block : FactBlock
        Consequences of the axioms.
    """

    axioms: dict[str, Formula]
    rules: dict[str, list[HornRule]]
    block: FactBlock
    goals: tuple[Goal, ...]
    depth: int
    induction: Induction | None

    def as_dict(self) -> dict[str, Any]:
        """Return the deduction as a JSON object, for programs that check it."""
        rules = {name: [str(rule) for rule in rules] for name, rules in self.rules.items()}
        return {
            "version": 1,
            "depth": self.depth,
            "induction": None if self.induction is None else list(self.induction),
            "axioms": {name: format_formula(formula) for name, formula in self.axioms.items()},
            "rules": rules,
            "facts": _facts(self.block),
            "contradiction": self.block.contradiction and list(self.block.contradiction),
            "complete": self.block.complete,
            "goals": [
                {
                    "name": goal.name,
                    "formula": format_formula(goal.formula),
                    "by": goal.by,
                    "earlier": list(goal.earlier),
                    "cases": [_case(case) for case in goal.cases],
                }
                for goal in self.goals
            ],
        }


HYPOTHESIS = "induction hypothesis"
"""Name of the rule that the step of an induction may use."""


def deduce(
    entries: Sequence[NamedFormula], depth: int, induction: Induction | None = None, height: int = HIGHEST
) -> Deduction:
    """Deduce all consequences of axioms up to a depth, and prove each conjecture from the axioms and earlier ones.

    A universally quantified goal opens a block with a constant for each variable, in which the premises are given. If
    that block does not reach the goal and there is an `induction`, two blocks per variable follow: the base case uses
    zero, and the step uses the successor of a constant for which the goal is available as a rule (Generative Logic,
    arXiv 2508.00017).

    Parameters
    ----------
    depth : int
        Number of rounds in each block.
    height : int
        Maximum nesting depth of terms.

    Raises
    ------
    ParameterError
        If depth or height is less than 1, height is more than `MOST_HEIGHT`, or `induction` does not name a constant
        and a function that occur in the formulas.
    FormatError
        If a formula cannot be converted to rules.
    CapacityError
        If a limit on facts or terms is exceeded.
    """
    if depth < 1 or height < 1:
        raise ParameterError(f"depth and height must be at least 1, got {depth} and {height}")
    if height > MOST_HEIGHT:
        raise ParameterError(f"height must be at most {MOST_HEIGHT}, got {height}")
    terms: dict[str, int] = {}
    symbols: set[str] = set()
    for entry in entries:
        terms |= functions(entry.formula)
        symbols |= {*functions(entry.formula), *predicates(entry.formula)}
    if induction is not None and (terms.get(induction.zero), terms.get(induction.successor)) != (0, 1):
        raise ParameterError(
            f"induction needs a constant and a function of one argument that the formulas have, "
            f"got {induction.zero!r:.60} and {induction.successor!r:.60}"
        )
    axioms = {entry.name: entry.formula for entry in entries if not entry.conjecture}
    rules = {entry.name: rules_of(entry.name, entry.formula, symbols) for entry in entries}
    taken = symbols.union(*map(_symbols, rules.values()))
    known = [rule for name in axioms for rule in rules[name]]
    block = Deducer(known, (), height=height).run(depth)
    goals: list[Goal] = []
    proved: list[str] = []
    for entry in entries:
        if entry.conjecture:
            if len(rules[entry.name]) != 1 or not _symbols(rules[entry.name]) <= symbols:  # a witness
                raise FormatError(f"{entry.name} is not a goal: it must be one rule, ((premise & premise) => head)")
            prover = _GoalProver(rules[entry.name][0], known, taken, depth, height=height)
            by, cases = prover.prove(induction)
            goals.append(Goal(entry.name, entry.formula, by, cases, earlier=tuple(proved)))
            if by:
                proved.append(entry.name)
                known = known + rules[entry.name]
    return Deduction(axioms, rules, block, tuple(goals), depth=depth, induction=induction)


class _GoalProver(NamedTuple):
    """A goal, and the rules that may be used to prove it."""

    rule: HornRule
    known: list[HornRule]
    symbols: set[str]
    depth: int
    height: int

    def prove(self, induction: Induction | None) -> tuple[str, tuple[GoalBlock, ...]]:
        """Return the kind of proof found, and its blocks."""
        variables = list(dict.fromkeys(v for fact in (*self.rule.premises, self.rule.head) for v in fact.variables))
        names: list[str] = []
        for variable in variables:
            names.append(self.fresh(variable.lower(), names))
        constants: dict[str, Term] = {name: Apply(constant) for name, constant in zip(variables, names, strict=True)}
        direct = self.case("direct", "", constants, None)
        if direct.proved:
            return "direct", (direct,)
        tried = [direct]
        for variable in variables if induction is not None else []:
            assert induction is not None
            base = self.case("base", variable, constants | {variable: Apply(induction.zero)}, None)
            tried.append(base)
            if not base.proved:
                continue
            before = Apply(self.fresh("rec", names))
            under: dict[str, Term] = {variable: before}
            premises = tuple([premise.under(under) for premise in self.rule.premises])
            hypothesis = HornRule(HYPOTHESIS, premises, self.rule.head.under(under))
            after = constants | {variable: Apply(induction.successor, (before,))}
            step = self.case("step", variable, after, hypothesis)
            tried.append(step)
            if step.proved:
                return "induction", (base, step)
        return "", tuple(tried)

    def fresh(self, name: str, others: Sequence[str]) -> str:
        """Return a name that differs from all symbols and from the given names."""
        while name in self.symbols or name in others:
            name += "_"
        return name

    def case(self, name: str, variable: str, constants: dict[str, Term], hypothesis: HornRule | None) -> GoalBlock:
        given = tuple([premise.under(constants) for premise in self.rule.premises])
        goal = self.rule.head.under(constants)
        rules = self.known + ([] if hypothesis is None else [hypothesis])
        block = Deducer(rules, given, goal, self.height).run(self.depth)
        return GoalBlock(name, variable, constants, given, goal=goal, hypothesis=hypothesis, block=block)


def _symbols(rules: Sequence[HornRule]) -> set[str]:
    found: set[str] = set()
    for rule in rules:
        stack: list[Term] = [term for fact in (*rule.premises, rule.head) for term in fact.arguments]
        while stack:
            term = stack.pop()
            if not isinstance(term, Variable):
                found.add(term.name)
                stack += term.arguments
    return found


def _facts(block: FactBlock, only: set[int] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "number": one.number,
            "fact": str(one.fact),
            "rule": one.rule,
            "place": one.place,
            "values": {name: format_term(term) for name, term in one.values.items()},
            "premises": [list(premise) for premise in one.premises],
            "depth": one.depth,
        }
        for one in block.facts
        if only is None or one.number in only
    ]


def needed(block: FactBlock, numbers: Sequence[int]) -> set[int]:
    """Return the numbers of the given facts and of all facts from which they were derived."""
    found: set[int] = set()
    waiting = list(numbers)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += [one for premise in block.facts[number].premises for one in premise]
    return found


def _case(case: GoalBlock) -> dict[str, Any]:
    end = case.block.reached if case.block.contradiction is None else case.block.contradiction
    return {
        "case": case.name,
        "variable": case.variable,
        "constants": {name: format_term(term) for name, term in case.constants.items()},
        "given": [str(fact) for fact in case.given],
        "goal": str(case.goal),
        "hypothesis": None if case.hypothesis is None else str(case.hypothesis),
        "proved": case.proved,
        "contradiction": case.block.contradiction is not None,
        "from": None if end is None else list(end),
        "facts": [] if end is None else _facts(case.block, needed(case.block, end)),
        "derived": len(case.block.facts),
    }
