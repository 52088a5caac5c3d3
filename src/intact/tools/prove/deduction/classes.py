"""Congruence closure: classes of equal terms, with the facts from which each equality follows.

Uses union-find over terms, a table of function values for congruence, and a forest of reasons from which explanations
are derived (Nieuwenhuis and Oliveras 2007). Atoms are terms too: true ones are equal to `TRUE`, false ones to `FALSE`.
"""

from __future__ import annotations

from typing import Final

from intact._base.errors import CapacityError

TRUE, FALSE = 0, 1
"""The term numbers of the two truth values."""
ATOM: Final = "\n"
"""Suffix of the names of predicates and truth values, which no function has: names in TPTP have no line breaks."""
REFLEXIVE: Final = -1
"""Reason for an equality of a term with itself, omitted from explanations."""
MOST_TERMS: Final = 50_000
"""Maximum number of terms."""

Node = tuple[str, tuple[int, ...]]
"""A function or predicate applied to terms, which are given by number."""


class Classes:
    """Numbered terms, the classes of equal terms, and the reasons for their equality."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.numbers: dict[Node, int] = {}
        self.parents: list[int] = []
        self.members: list[list[int]] = []
        self.uses: list[list[int]] = []
        self.table: dict[Node, int] = {}
        self.towards: list[int] = []
        self.reasons: list[int | None] = []
        self.add(f"$true{ATOM}", ())
        self.add(f"$false{ATOM}", ())

    def find(self, number: int) -> int:
        """Return the number of the representative of a term's class."""
        while self.parents[number] != number:
            number = self.parents[number]
        return number

    def add(self, name: str, arguments: tuple[int, ...]) -> int:
        """Return the number of a term, adding it if needed.

        Raises
        ------
        CapacityError
            If there are already `MOST_TERMS` terms.
        """
        node = name, arguments
        known = self.numbers.get(node)
        if known is not None:
            return known
        number = len(self.nodes)
        if number >= MOST_TERMS:
            raise CapacityError(f"more than {MOST_TERMS:,} terms; a smaller depth makes fewer")
        self.nodes.append(node)
        self.numbers[node] = number
        self.parents.append(number)
        self.members.append([number])
        self.uses.append([])
        self.towards.append(-1)
        self.reasons.append(None)
        for argument in dict.fromkeys(map(self.find, arguments)):
            self.uses[argument].append(number)
        key = self._key(number)
        other = self.table.setdefault(key, number)
        if other != number:
            self._merge(number, other, None)
        return number

    def _key(self, number: int) -> Node:
        name, arguments = self.nodes[number]
        return name, tuple(map(self.find, arguments))

    def same(self, one: int, other: int) -> bool:
        """Return true if two terms are equal."""
        return self.find(one) == self.find(other)

    def merge(self, one: int, other: int, reason: int) -> None:
        """Make two terms equal, with a fact as the reason."""
        self._merge(one, other, reason)

    def _merge(self, one: int, other: int, reason: int | None) -> None:
        waiting: list[tuple[int, int, int | None]] = [(one, other, reason)]
        while waiting:
            one, other, reason = waiting.pop()
            first, second = self.find(one), self.find(other)
            if first == second:
                continue
            self._hang(one, other, reason)
            if second < first:  # the older term represents both
                first, second = second, first
            self.parents[second] = first
            self.members[first] += self.members[second]
            for use in self.uses[second]:
                known = self.table.setdefault(self._key(use), use)
                if known != use and not self.same(known, use):
                    waiting.append((use, known, None))
            self.uses[first] += self.uses[second]

    def _hang(self, one: int, other: int, reason: int | None) -> None:
        """Make `one` the root of its reason tree, and attach it below `other`."""
        previous, previous_reason = other, reason
        while one != -1:
            following, following_reason = self.towards[one], self.reasons[one]
            self.towards[one], self.reasons[one] = previous, previous_reason
            previous, previous_reason, one = one, following_reason, following

    def explain(self, one: int, other: int) -> set[int]:
        """Return facts from which the equality of two terms follows."""
        facts: set[int] = set()
        done: set[tuple[int, int]] = set()
        waiting = [(one, other)]
        while waiting:
            one, other = waiting.pop()
            if one == other or (one, other) in done:
                continue
            done.add((one, other))
            above = self._path(one)
            meeting = next(number for number in self._path(other) if number in set(above))
            for start in (one, other):
                number = start
                while number != meeting:
                    reason, towards = self.reasons[number], self.towards[number]
                    if reason is not None:
                        facts.add(reason)
                    else:
                        waiting += zip(self.nodes[number][1], self.nodes[towards][1], strict=True)
                    number = towards
        return facts - {REFLEXIVE}

    def _path(self, number: int) -> list[int]:
        path = [number]
        while self.towards[path[-1]] != -1:
            path.append(self.towards[path[-1]])
        return path
