"""Inequalities after IneqMath: find the best constant in a bound, or the relation between two expressions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from intact._base.errors import ParameterError
from intact.tasks.choice import Choice, with_choices
from intact.tasks.generated import Draws, Generated
from intact.tasks.numeric import Numeric
from intact.tasks.score import numbers
from intact.tasks.task import Item
from intact.tools.prove.inequalities import Relation, check_bound, minimum, relation
from intact.tools.prove.polynomials import Polynomial, parse_polynomial

NAMES: Final = ("x", "y", "z")
CHOICES: Final[dict[Relation, str]] = {
    ">=": "the left side is always at least the right one, and sometimes equal",
    "<=": "the left side is always at most the right one, and sometimes equal",
    ">": "the left side is always greater",
    "<": "the left side is always smaller",
    "none": "none of these",
}
"""Relations that hold for all real numbers, with the wording of the choices."""
LARGEST: Final = len(NAMES)


def _linear(draws: Draws, names: Sequence[str]) -> Polynomial:
    """Return a linear form with small coefficients that contains at least one variable."""
    count = len(names)
    terms = {tuple([int(j == k) for j in range(count)]): Fraction(draws.between(-2, 2)) for k in range(count)}
    terms[tuple([int(j == draws.below(count)) for j in range(count)])] = Fraction(draws.choice((1, 2, 3)))
    terms[(0,) * count] = Fraction(draws.between(-3, 3))
    return Polynomial.of(names, {powers: value for powers, value in terms.items() if sum(powers) < 2})


def _squares(draws: Draws, names: Sequence[str]) -> Polynomial:
    """Return a sum of weighted squares of linear forms, one for each variable."""
    total = Polynomial.of(names, {})
    for _ in names:
        root = _linear(draws, names)
        total = total + (root * root).scale(Fraction(draws.between(1, 3)))
    return total


def _names(task: str, variables: int) -> tuple[str, ...]:
    if not 1 <= variables <= LARGEST:
        raise ParameterError(f"{task}: variables must be from 1 to {LARGEST}, got {variables}")
    return NAMES[:variables]


def _all(names: Sequence[str]) -> str:
    return f"all real numbers {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"all real {names[0]}"


class InequalityBounds(Generated, Numeric):
    """Bound estimation after Sheng et al. 2025, arXiv 2506.07927 (IneqMath), with our own polynomials of degree 2.

    Each answer is proved: a sum of squares certifies that the bound holds, and some point attains it.
    """

    name = "inequality_bounds"
    line = "the largest constant below a polynomial (variables=2), proved by a sum of squares"
    shots = (
        (
            "What is the largest constant C such that x^2 - 4*x + 7 >= C for all real x?",
            "x^2 - 4*x + 7 = (x - 2)^2 + 3, which is least at x = 2. The answer is 3.",
        ),
    )

    def __init__(self, *, variables: int = 2, seed: int = 0, size: int = 100) -> None:
        super().__init__(seed=seed, size=size)
        self.names = _names(self.name, variables)

    def make(self, index: int) -> Item:
        """Make a polynomial that has a minimum, with the minimum as the answer."""
        draws = Draws(self.seed, self.name, len(self.names), index)
        number = Polynomial.constant(self.names, Fraction(draws.between(-9, 9)))
        polynomial = _squares(draws, self.names) + number
        least = minimum(polynomial)
        assert least is not None
        question = f"What is the largest constant C such that {polynomial} >= C for {_all(self.names)}?"
        name = f"{len(self.names)}-{self.seed}-{index}"
        return Item(name, question, str(least.value), secret={"polynomial": str(polynomial)})

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the bound holds everywhere and cannot be improved; a decimal stands for its exact value."""
        given = None if answer is None else numbers.as_number(answer)
        polynomial = self._polynomial(item)
        return given is not None and polynomial is not None and check_bound(polynomial, Fraction(given)).best

    def _polynomial(self, item: Item) -> Polynomial | None:
        text = item.secret.get("polynomial")
        return None if text is None else parse_polynomial(text, NAMES)


class InequalityRelations(Generated, Choice):
    """Relation prediction after Sheng et al. 2025, arXiv 2506.07927 (IneqMath), with our own polynomials.

    The relation is decided exactly: by a sum of squares, or by a point on either side.
    """

    name = "inequality_relations"
    line = "which relation two polynomials have at all points (variables=2), decided exactly"
    shots = (
        (
            with_choices("How do x^2 + 1 and 2*x compare for all real x?", list(CHOICES.values())),
            "x^2 + 1 - 2*x = (x - 1)^2, which is never negative, and 0 at x = 1. The answer is A.",
        ),
    )

    def __init__(self, *, variables: int = 2, seed: int = 0, size: int = 100) -> None:
        super().__init__(seed=seed, size=size)
        self.names = _names(self.name, variables)

    def make(self, index: int) -> Item:
        """Make two polynomials whose difference is a sum of squares, shifted up or down and possibly negated."""
        draws = Draws(self.seed, self.name, len(self.names), index)
        kind = draws.choice(("reached", "reached", "above", "below"))
        difference = _squares(draws, self.names)
        least = minimum(difference)
        assert least is not None
        shift = {"reached": Fraction(0), "above": Fraction(draws.between(1, 4)), "below": Fraction(-1)}[kind]
        difference = difference + Polynomial.constant(self.names, shift - least.value)
        if draws.below(2):
            difference = difference.scale(Fraction(-1))
        right = _squares(draws, self.names)
        left = right + difference
        found = relation(left, right)
        question = f"How do {left} and {right} compare for {_all(self.names)}?"
        letter = "ABCDE"[list(CHOICES).index(found)]
        name = f"{len(self.names)}-{self.seed}-{index}"
        return Item(name, with_choices(question, list(CHOICES.values())), letter)
