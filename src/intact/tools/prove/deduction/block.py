"""A block of forward deduction: facts, rules, and everything that follows from them within a number of rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final, NamedTuple

from intact._base.errors import CapacityError
from intact.tools.prove.deduction.classes import ATOM, FALSE, REFLEXIVE, TRUE, Classes
from intact.tools.prove.deduction.rules import Fact, HornRule
from intact.tools.prove.formula import EQUALS, Apply, Term, Variable

MOST_FACTS: Final = 100_000
"""Maximum number of facts in a block."""
MOST_FOUND: Final = 4 * MOST_FACTS
"""Maximum number of facts found in one round; some of them may be equal."""
HIGHEST: Final = 8
"""Default maximum nesting depth of terms in facts; facts with deeper terms are not derived."""
MOST_HEIGHT: Final = 200
"""Largest nesting depth that a user may set."""


class Derived(NamedTuple):
    """A fact with its provenance.

    Attributes
    ----------
    rule : str
        Name of the rule; `GIVEN` if the block assumes the fact.
    place : int
        Index among the rules with that name.
    values : dict
        Term assigned to each of the rule's variables.
    premises : tuple
        For each premise, the numbers of the facts from which it follows by equality; a single number if the premise is
        itself a fact.
    depth : int
        Round in which it was derived; 0 if given.
    """

    number: int
    fact: Fact
    rule: str
    place: int
    values: dict[str, Term]
    premises: tuple[tuple[int, ...], ...]
    depth: int


class Instance(NamedTuple):
    """A rule's head under an assignment of its variables; fields as in `Derived`."""

    fact: Fact
    rule: str
    place: int
    values: dict[str, Term]
    premises: tuple[tuple[int, ...], ...]


GIVEN: Final = ""
Values = dict[str, int]


@dataclass
class FactBlock:
    """The facts that follow from rules.

    Attributes
    ----------
    reached : tuple of int or None
        Facts from which the goal follows by equality.
    contradiction : tuple of int or None
        Facts that contradict each other: the block ends there, since everything would follow.
    complete : bool
        If true, the last round found nothing new: these are all the consequences, except those with terms that are too
        deep.
    """

    rules: Sequence[HornRule]
    facts: list[Derived] = field(default_factory=list)
    reached: tuple[int, ...] | None = None
    contradiction: tuple[int, ...] | None = None
    complete: bool = False


class Deducer:
    """A deducer of the facts in a block, round by round.

    Each round matches every rule against the facts from before the round, in the order of rules and terms. A variable
    that does not occur in a premise is matched by the sides of an equality in the head, if there is one; otherwise it
    ranges over all terms. Matching is modulo equality, with the oldest term as the representative of its class.

    Parameters
    ----------
    rules, given : sequence
        Rules, and facts without variables.
    goal : Fact, optional
        Fact without variables at which the block ends. Its terms exist from the beginning.
    height : int
        Maximum nesting depth of terms.

    Raises
    ------
    CapacityError
        If the block has more than `MOST_FACTS` facts, or too many terms.
    """

    def __init__(
        self, rules: Sequence[HornRule], given: Sequence[Fact], goal: Fact | None = None, height: int = HIGHEST
    ) -> None:
        self.block, self.goal, self.height = FactBlock(rules), goal, height
        self.classes = Classes()
        self.index: dict[tuple[str, int], list[int]] = {}
        self.indexed = 0
        self.places: list[int] = []
        for place, rule in enumerate(rules):
            before = [one.name for one in rules[:place]]
            self.places.append(before.count(rule.name))
        if goal is not None:
            self.sides(goal)
        for fact in given:
            self.accept(Instance(fact, GIVEN, 0, {}, premises=()), 0)
        for place, rule in enumerate(rules):
            if not rule.premises and not rule.head.variables:
                self.accept(Instance(rule.head, rule.name, self.places[place], {}, premises=()), 0)
        self.look()

    def run(self, depth: int) -> FactBlock:
        """Deduce for `depth` rounds, or until the goal is reached or a round finds nothing new."""
        for round_ in range(1, depth + 1):
            if self.block.reached is not None or self.block.contradiction is not None:
                break
            before = len(self.block.facts)
            for instance in self.found():
                self.accept(instance, round_)
                if self.look():
                    return self.block
            if len(self.block.facts) == before:
                self.block.complete = True
                break
        return self.block

    def found(self) -> list[Instance]:
        """Return everything new that follows from all rules in one step, each fact once."""
        found: dict[Fact, Instance] = {}
        for place, rule in enumerate(self.block.rules):
            for instance in self.instances(place, rule):
                found.setdefault(instance.fact, instance)
                if len(found) > MOST_FOUND:
                    raise CapacityError(f"more than {MOST_FOUND:,} facts in a round, by the rule {rule.name:.60}")
        return list(found.values())

    def look(self) -> bool:
        """Check for a contradiction and for the goal; return true if either was found."""
        classes = self.classes
        if classes.same(TRUE, FALSE):
            self.block.contradiction = tuple(sorted(classes.explain(TRUE, FALSE)))
        elif self.goal is not None:
            left, right = self.sides(self.goal)
            if classes.same(left, right):
                self.block.reached = tuple(sorted(classes.explain(left, right)))
        return self.block.reached is not None or self.block.contradiction is not None

    def number(self, term: Term) -> int:
        """Return the number of a term without variables, adding it if needed."""
        assert isinstance(term, Apply)
        return self.classes.add(term.name, tuple(map(self.number, term.arguments)))

    def term(self, number: int) -> Term:
        """Return the term that has this number."""
        name, arguments = self.classes.nodes[number]
        return Apply(name, tuple(map(self.term, arguments)))

    def sides(self, fact: Fact) -> tuple[int, int]:
        """Return the two terms whose equality represents a fact."""
        numbers = tuple(map(self.number, fact.arguments))
        if fact.name == EQUALS and fact.positive:
            return numbers[0], numbers[1]
        return self.classes.add(f"{fact.name}{ATOM}", numbers), TRUE if fact.positive else FALSE

    def accept(self, instance: Instance, depth: int) -> None:
        """Add a fact unless it already holds."""
        fact = instance.fact
        if any(_height(term) > self.height for term in fact.arguments):
            return
        left, right = self.sides(fact)
        if self.classes.same(left, right):
            return
        number = len(self.block.facts)
        if number >= MOST_FACTS:
            raise CapacityError(f"more than {MOST_FACTS:,} facts; a smaller depth makes fewer")
        self.block.facts.append(Derived(number, *instance, depth))
        self.classes.merge(left, right, number)
        if fact.name == EQUALS and not fact.positive:
            one, other = map(self.number, fact.arguments)
            self.classes.merge(self.classes.add(f"{EQUALS}{ATOM}", (other, one)), FALSE, number)
            self.classes.merge(self.classes.add(f"{EQUALS}{ATOM}", (one, one)), TRUE, REFLEXIVE)

    def instances(self, place: int, rule: HornRule) -> Iterator[Instance]:
        """Yield everything new that follows from a rule in one step."""
        if not rule.premises and not rule.head.variables:
            return
        self._update_index()
        seen: set[tuple[int, ...]] = set()
        for values in self._bindings(rule):
            key = tuple([self.classes.find(values[name]) for name in sorted(values)])
            if key in seen:
                continue
            seen.add(key)
            terms = {name: self.term(self.classes.find(number)) for name, number in values.items()}
            head = rule.head.under(terms)
            if self._holds(head):
                continue
            premises = tuple([self._sources(premise.under(terms)) for premise in rule.premises])
            yield Instance(head, rule.name, self.places[place], terms, premises=premises)

    def _update_index(self) -> None:
        for number in range(self.indexed, len(self.classes.nodes)):
            name, arguments = self.classes.nodes[number]
            self.index.setdefault((name, len(arguments)), []).append(number)
        self.indexed = len(self.classes.nodes)

    def _holds(self, fact: Fact) -> bool:
        """Return true if a fact holds; unlike `sides`, this adds no terms."""
        numbers = [self._known(term) for term in fact.arguments]
        if None in numbers:
            return fact.name == EQUALS and fact.positive and fact.arguments[0] == fact.arguments[1]
        if fact.name == EQUALS and fact.positive:
            return numbers[0] == numbers[1]
        atom = self.classes.table.get((f"{fact.name}{ATOM}", tuple(n for n in numbers if n is not None)))
        return atom is not None and self.classes.same(atom, TRUE if fact.positive else FALSE)

    def _known(self, term: Term) -> int | None:
        """Return the class of a term, or None if no equal term exists yet."""
        assert isinstance(term, Apply)
        arguments = [self._known(argument) for argument in term.arguments]
        if None in arguments:
            return None
        number = self.classes.table.get((term.name, tuple(n for n in arguments if n is not None)))
        return None if number is None else self.classes.find(number)

    def _sources(self, premise: Fact) -> tuple[int, ...]:
        """Return the facts from which a premise follows."""
        return tuple(sorted(self.classes.explain(*self.sides(premise))))

    def _bindings(self, rule: HornRule) -> Iterator[Values]:
        for values in self._joined(rule.premises, {}):
            missing = [name for name in rule.head.variables if name not in values]
            if not missing:
                yield values
            elif rule.head.name == EQUALS:
                for side in rule.head.arguments:
                    if isinstance(side, Apply):
                        for more in self._matches_anywhere(side, values):
                            if all(name in more for name in missing):
                                yield more
            else:
                everything = self._everything()
                for choice in product(everything, repeat=len(missing)):
                    yield values | dict(zip(missing, choice, strict=True))

    def _everything(self) -> list[int]:
        """Return one term of each class, excluding truth values and atoms."""
        nodes = self.classes.nodes
        return [n for n in range(2, self.indexed) if self.classes.find(n) == n and not nodes[n][0].endswith(ATOM)]

    def _joined(self, premises: tuple[Fact, ...], values: Values) -> Iterator[Values]:
        if not premises:
            yield values
            return
        for more in self._premise(premises[0], values):
            yield from self._joined(premises[1:], more)

    def _premise(self, premise: Fact, values: Values) -> Iterator[Values]:
        """Yield the assignments under which a premise holds."""
        if premise.name != EQUALS or not premise.positive:
            truth = self.classes.find(TRUE if premise.positive else FALSE)
            for number in self.index.get((f"{premise.name}{ATOM}", len(premise.arguments)), []):
                if self.classes.find(number) == truth:
                    yield from self._match_all(premise.arguments, self.classes.nodes[number][1], values)
            return
        left, right = premise.arguments
        if isinstance(left, Variable) and left.name not in values:
            left, right = right, left
        if isinstance(left, Apply):
            for number in self.index.get((left.name, len(left.arguments)), []):
                for more in self._match_all(left.arguments, self.classes.nodes[number][1], values):
                    yield from self._match(right, number, more)
            return
        starts = [values[left.name]] if left.name in values else self._everything()
        for number in starts:
            yield from self._match(right, number, values | {left.name: number})

    def _matches_anywhere(self, pattern: Apply, values: Values) -> Iterator[Values]:
        for number in self.index.get((pattern.name, len(pattern.arguments)), []):
            yield from self._match_all(pattern.arguments, self.classes.nodes[number][1], values)

    def _match_all(self, patterns: tuple[Term, ...], numbers: tuple[int, ...], values: Values) -> Iterator[Values]:
        if not patterns:
            yield values
            return
        for more in self._match(patterns[0], numbers[0], values):
            yield from self._match_all(patterns[1:], numbers[1:], more)

    def _match(self, pattern: Term, number: int, values: Values) -> Iterator[Values]:
        """Yield the assignments under which a pattern equals a term."""
        if isinstance(pattern, Variable):
            if pattern.name not in values:
                yield values | {pattern.name: self.classes.find(number)}
            elif self.classes.same(values[pattern.name], number):
                yield values
            return
        for member in self.classes.members[self.classes.find(number)]:
            name, arguments = self.classes.nodes[member]
            if name == pattern.name and len(arguments) == len(pattern.arguments):
                yield from self._match_all(pattern.arguments, arguments, values)


def _height(term: Term) -> int:
    return 1 + max([_height(argument) for argument in term.arguments], default=0) if isinstance(term, Apply) else 1
