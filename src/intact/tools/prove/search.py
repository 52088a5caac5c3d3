"""The search for a contradiction in clauses; it imports nothing of this package, as the sandbox runs its text too.

Clauses without functions are grounded over their constants and decided by a search with learnt clauses (CDCL): the
Bernays-Schönfinkel class is decidable so. Others are resolved: every clause with a negative literal has one selected,
and is resolved on it with positive clauses until nothing is new (positive resolution with selection, Robinson 1965,
Bachmair and Ganzinger 2001), the lightest clause first and every fifth time the oldest. Limits count steps: the same
clauses give the same verdict after the same steps on every machine.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

MOST_INSTANCES = 100_000
"""The most ground clauses; problems with more are resolved."""


class OutOfStepsError(Exception):
    """The steps allowed are used up."""


class StepCounter:
    """A count of steps with a limit."""

    def __init__(self, limit: int) -> None:
        self.limit, self.taken = limit, 0

    def take(self, number: int = 1) -> None:
        """Count steps; raise OutOfStepsError beyond the limit."""
        self.taken += number
        if self.taken > self.limit:
            raise OutOfStepsError


def refute(clauses: list[Any], limit: int) -> dict[str, Any]:
    """Return if clauses contradict each other.

    Parameters
    ----------
    clauses : list
        Lists of literals [positive, predicate, arguments]; an argument is a variable's number or [function, ...].
    limit : int
        The most steps: literals visited in propagation, clauses instantiated, pairs of literals unified.

    Returns
    -------
    dict
        `answer`: "unsatisfiable", "satisfiable" or "limit"; `by`: "polarity", "ground" or "resolution"; `steps`.
    """
    for sign in (True, False):
        if all(any(literal[0] == sign for literal in clause) for clause in clauses):
            return {"answer": "satisfiable", "by": "polarity", "steps": 0}  # all atoms true, or all false
    steps = StepCounter(limit)
    by = "ground" if instances(clauses) <= MOST_INSTANCES else "resolution"
    try:
        holds = Ground(clauses, steps).satisfiable() if by == "ground" else saturate(clauses, steps)
        answer = "satisfiable" if holds else "unsatisfiable"
    except OutOfStepsError:
        answer = "limit"
    return {"answer": answer, "by": by, "steps": min(steps.taken, limit)}


def variables(term: Any) -> Iterator[int]:
    """Yield the variables of a term, or of the arguments of a literal."""
    if isinstance(term, int):
        yield term
    else:
        for part in term:
            if not isinstance(part, str):
                yield from variables(part)


def of_clause(clause: Any) -> list[int]:
    """Return the variables of a clause, each once."""
    return list(dict.fromkeys(number for literal in clause for number in variables(literal[2])))


def constants(clauses: list[Any]) -> list[str] | None:
    """Return the constants of clauses, in order; None if there is a function of arguments."""
    found: dict[str, None] = {}
    for clause in clauses:
        for literal in clause:
            for term in literal[2]:
                if not isinstance(term, int):
                    if len(term) > 1:
                        return None
                    found[term[0]] = None
    return list(found) or ["c"]


def instances(clauses: list[Any]) -> int:
    """Return the number of ground instances, or more than `MOST_INSTANCES` where there is no such number."""
    names = constants(clauses)
    if names is None:
        return MOST_INSTANCES + 1
    total = 0
    for clause in clauses:
        total += len(names) ** min(len(of_clause(clause)), 40)
    return total


class Ground:
    """Ground instances of clauses over their constants, and the search for a model of them.

    Atoms are numbered from 1 in the order in which instances name them; a literal is such a number or its negative.
    Decisions take the least atom without a value, false first.
    """

    def __init__(self, clauses: list[Any], steps: StepCounter) -> None:
        self.steps = steps
        names = constants(clauses) or ["c"]
        self.atoms: dict[tuple[str, ...], int] = {}
        self.clauses: list[list[int]] = []
        self.contradiction = False
        seen: set[frozenset[int]] = set()
        for clause in clauses:
            places = of_clause(clause)
            for values in itertools.product(names, repeat=len(places)):
                steps.take()
                value = dict(zip(places, values, strict=True))
                literals: dict[int, None] = {}
                for positive, predicate, arguments in clause:
                    atom = (predicate, *[value[one] if isinstance(one, int) else one[0] for one in arguments])
                    number = self.atoms.setdefault(atom, len(self.atoms) + 1)
                    literals[number if positive else -number] = None
                key = frozenset(literals)
                if key in seen or any(-one in literals for one in literals):
                    continue
                seen.add(key)
                self.clauses.append(list(literals))
                self.contradiction |= not literals

    def satisfiable(self) -> bool:
        """Return true if all clauses can hold; afterwards `value` says of each atom if it does."""
        count = len(self.atoms)
        self.value = [0] * (count + 1)
        self.level = [0] * (count + 1)
        self.reason: list[list[int] | None] = [None] * (count + 1)
        self.trail: list[int] = []
        self.bounds: list[int] = []
        self.watches: dict[int, list[list[int]]] = {}
        if self.contradiction:
            return False
        for clause in self.clauses:
            if len(clause) == 1:
                if self.holds(clause[0]) < 0:
                    return False
                if self.holds(clause[0]) == 0:
                    self.assign(clause[0], None)
            else:
                self.watch(clause)
        head, least = 0, 1
        while True:
            conflict, head = self.propagate(head)
            if conflict is not None:
                if not self.bounds:
                    return False
                learnt, back = self.analyse(conflict)
                self.undo(back)
                head, least = len(self.trail), 1
                if len(learnt) > 1:
                    self.watch(learnt)
                self.assign(learnt[0], learnt if len(learnt) > 1 else None)
                continue
            while least <= count and self.value[least]:
                least += 1
            if least > count:
                return True
            self.bounds.append(len(self.trail))
            self.assign(-least, None)

    def holds(self, literal: int) -> int:
        """Return 1 if a literal is true, -1 if it is false, 0 if neither is decided."""
        return self.value[literal] if literal > 0 else -self.value[-literal]

    def assign(self, literal: int, reason: list[int] | None) -> None:
        """Make a literal true."""
        atom = abs(literal)
        self.value[atom] = 1 if literal > 0 else -1
        self.level[atom] = len(self.bounds)
        self.reason[atom] = reason
        self.trail.append(literal)

    def watch(self, clause: list[int]) -> None:
        """Look at a clause again when one of its first two literals becomes false."""
        for literal in clause[:2]:
            self.watches.setdefault(-literal, []).append(clause)

    def propagate(self, head: int) -> tuple[list[int] | None, int]:
        """Draw the consequences of the trail from a place on; return a clause that is false, if one is."""
        while head < len(self.trail):
            literal = self.trail[head]
            head += 1
            kept: list[list[int]] = []
            waiting = self.watches.get(literal, [])
            for place, clause in enumerate(waiting):
                self.steps.take()
                if clause[0] == -literal:
                    clause[0], clause[1] = clause[1], clause[0]
                if self.holds(clause[0]) > 0:
                    kept.append(clause)
                    continue
                for other in range(2, len(clause)):
                    if self.holds(clause[other]) >= 0:
                        clause[1], clause[other] = clause[other], clause[1]
                        self.watches.setdefault(-clause[1], []).append(clause)
                        break
                else:
                    kept.append(clause)
                    if self.holds(clause[0]) < 0:
                        self.watches[literal] = kept + waiting[place + 1 :]
                        return clause, head
                    self.assign(clause[0], clause)
            self.watches[literal] = kept
        return None, head

    def analyse(self, conflict: list[int]) -> tuple[list[int], int]:
        """Return the clause that a conflict teaches (first unique implication point), and the level to go back to."""
        seen: set[int] = set()
        learnt: list[int] = []
        open_, place, clause = 0, len(self.trail), conflict
        while True:
            for literal in clause:
                self.steps.take()
                atom = abs(literal)
                if atom not in seen and self.level[atom]:
                    seen.add(atom)
                    if self.level[atom] == len(self.bounds):
                        open_ += 1
                    else:
                        learnt.append(literal)
            place -= 1
            while abs(self.trail[place]) not in seen:
                place -= 1
            literal = self.trail[place]
            open_ -= 1
            if not open_:
                break
            clause = [one for one in self.reason[abs(literal)] or [] if one != literal]
        learnt.sort(key=lambda one: -self.level[abs(one)])
        return [-literal, *learnt], self.level[abs(learnt[0])] if learnt else 0

    def undo(self, level: int) -> None:
        """Take back all decisions above a level."""
        start = self.bounds[level]
        for literal in self.trail[start:]:
            self.value[abs(literal)] = 0
        del self.trail[start:], self.bounds[level:]


Literal = tuple[bool, str, tuple[Any, ...]]


def frozen(term: Any) -> Any:
    """Return a term as a value that can be compared and hashed."""
    return term if isinstance(term, int) else (term[0], *map(frozen, term[1:]))


def weight(term: Any) -> int:
    """Return the number of symbols of a term."""
    return 1 if isinstance(term, int) else 1 + sum(map(weight, term[1:]))


def heaviness(clause: tuple[Literal, ...]) -> int:
    """Return the number of symbols of a clause."""
    return sum(1 + sum(map(weight, literal[2])) for literal in clause)


def shifted(term: Any, by: int) -> Any:
    """Return a term with other variables."""
    return term + by if isinstance(term, int) else (term[0], *[shifted(part, by) for part in term[1:]])


def walk(term: Any, known: dict[int, Any]) -> Any:
    """Return what a variable stands for."""
    while isinstance(term, int) and term in known:
        term = known[term]
    return term


def occurs(number: int, term: Any, known: dict[int, Any]) -> bool:
    """Return true if a variable is in a term."""
    term = walk(term, known)
    if isinstance(term, int):
        return bool(term == number)
    return any(occurs(number, part, known) for part in term[1:])


def unify(one: tuple[Any, ...], other: tuple[Any, ...], known: dict[int, Any]) -> bool:
    """Make two lists of terms equal by adding values of variables; return false if there are none."""
    stack = list(zip(one, other, strict=True))
    while stack:
        left, right = stack.pop()
        left, right = walk(left, known), walk(right, known)
        if left == right:
            continue
        if not isinstance(left, int) and not isinstance(right, int):
            if left[0] != right[0] or len(left) != len(right):
                return False
            stack += zip(left[1:], right[1:], strict=True)
            continue
        if not isinstance(left, int):
            left, right = right, left
        if occurs(left, right, known):
            return False
        known[left] = right
    return True


def match(one: tuple[Any, ...], other: tuple[Any, ...], known: dict[int, Any]) -> bool:
    """Make the first list of terms equal to the second by values of the first's variables alone."""
    for left, right in zip(one, other, strict=True):
        if isinstance(left, int):
            if known.setdefault(left, right) != right:
                return False
        else:
            same = not isinstance(right, int) and left[0] == right[0] and len(left) == len(right)
            if not (same and match(left[1:], right[1:], known)):
                return False
    return True


def applied(term: Any, known: dict[int, Any]) -> Any:
    """Return a term with values for its variables."""
    term = walk(term, known)
    return term if isinstance(term, int) else (term[0], *[applied(part, known) for part in term[1:]])


def normal(literals: list[Literal]) -> tuple[Literal, ...] | None:
    """Return a clause with each literal once and variables from 0 on; None if it always holds."""
    kept = list(dict.fromkeys(literals))
    if any((not positive, name, arguments) in kept for positive, name, arguments in kept):
        return None
    reflexive = any(positive and name == "=" and terms[0] == terms[1] for positive, name, terms in kept)
    if reflexive and len(kept) > 1:
        return None  # that x = x is among the axioms
    order = {number: place for place, number in enumerate(of_clause(kept))}
    renamed: dict[int, Any] = {number: -1 - place for number, place in order.items()}
    final = [(p, n, tuple(_final(applied(a, renamed)) for a in arguments)) for p, n, arguments in kept]
    return tuple(final)


def _final(term: Any) -> Any:
    return -1 - term if isinstance(term, int) else (term[0], *map(_final, term[1:]))


def subsumes(one: tuple[Literal, ...], other: tuple[Literal, ...], known: dict[int, Any], steps: StepCounter) -> bool:
    """Return true if an instance of the first clause is a part of the second."""
    if not one:
        return True
    positive, name, arguments = one[0]
    for literal in other:
        steps.take()
        if literal[0] == positive and literal[1] == name and len(literal[2]) == len(arguments):
            values = dict(known)
            if match(arguments, literal[2], values) and subsumes(one[1:], other, values, steps):
                return True
    return False


def selected(clause: tuple[Literal, ...]) -> int | None:
    """Return the place of the heaviest negative literal, of equals the first; None if all are positive."""
    places = [place for place, literal in enumerate(clause) if not literal[0]]
    return max(places, key=lambda place: (sum(map(weight, clause[place][2])), -place), default=None)


def resolvents(one: tuple[Literal, ...], other: tuple[Literal, ...], steps: StepCounter) -> Iterator[list[Literal]]:
    """Yield what follows from a clause with a selected literal and a positive one."""
    place = selected(one)
    if place is None or selected(other) is not None:
        return
    _, name, arguments = one[place]
    by = 1 + max([*of_clause(one), -1])
    moved = [(p, n, tuple(shifted(a, by) for a in terms)) for p, n, terms in other]
    for index, literal in enumerate(moved):
        steps.take()
        known: dict[int, Any] = {}
        if literal[1] == name and len(literal[2]) == len(arguments) and unify(arguments, literal[2], known):
            rest = [*one[:place], *one[place + 1 :], *moved[:index], *moved[index + 1 :]]
            yield [(p, n, tuple(applied(a, known) for a in terms)) for p, n, terms in rest]


def factors(clause: tuple[Literal, ...], steps: StepCounter) -> Iterator[list[Literal]]:
    """Yield what a positive clause becomes where two of its literals are made one."""
    if selected(clause) is not None:
        return
    for first, second in itertools.combinations(range(len(clause)), 2):
        steps.take()
        one, other = clause[first], clause[second]
        known: dict[int, Any] = {}
        if one[1] == other[1] and len(one[2]) == len(other[2]) and unify(one[2], other[2], known):
            rest = [*clause[:second], *clause[second + 1 :]]
            yield [(p, n, tuple(applied(a, known) for a in terms)) for p, n, terms in rest]


def saturate(clauses: list[Any], steps: StepCounter) -> bool:
    """Return true if nothing new follows any more, false if the empty clause does."""
    waiting: list[tuple[int, int, tuple[Literal, ...]]] = []
    active: list[tuple[Literal, ...]] = []
    ages, known = itertools.count(), set()

    def add(literals: list[Literal]) -> bool:
        """Keep a clause that is new; return true if it is the empty one."""
        clause = normal(literals)
        if clause is None or clause in known:
            return False
        known.add(clause)
        waiting.append((heaviness(clause), next(ages), clause))
        return not clause

    for clause in clauses:
        if add([(p, n, tuple(map(frozen, arguments))) for p, n, arguments in clause]):
            return False
    for turn in itertools.count(1):
        if not waiting:
            return True
        steps.take(len(waiting) // 16 + 1)
        chosen = min(waiting, key=(lambda one: one[1]) if turn % 5 == 0 else (lambda one: one[:2]))
        waiting.remove(chosen)
        given = chosen[2]
        if any(len(one) <= len(given) and subsumes(one, given, {}, steps) for one in active):
            continue
        active = [one for one in active if not (len(given) <= len(one) and subsumes(given, one, {}, steps))]
        active.append(given)
        found = list(factors(given, steps))
        for one in active:
            found += resolvents(given, one, steps)
            if one is not given:
                found += resolvents(one, given, steps)
        if any(add(literals) for literals in found):
            return False
    raise AssertionError


def main() -> None:
    """Read {"clauses": ..., "limit": ...} from standard input, a JSON object a line; write each answer in a line."""
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(refute(order["clauses"], order["limit"])))


if __name__ == "__main__":
    main()
