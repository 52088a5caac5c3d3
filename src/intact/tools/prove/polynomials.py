"""Polynomials with exact rational coefficients: parsing, arithmetic, evaluation, Bernstein coefficients on a box."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import comb
from typing import Final, TypeAlias

from intact._base.errors import CapacityError, FormatError

Exponents: TypeAlias = tuple[int, ...]
Point: TypeAlias = tuple[Fraction, ...]

MOST_TERMS: Final = 20_000
LARGEST_DEGREE: Final = 64
LONGEST: Final = 10_000
"""Maximum number of characters in a polynomial to parse."""
DEEPEST: Final = 50
"""Maximum nesting depth of parentheses."""
_TOKEN: Final = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]\w*)|(\*\*|[-+*/^()]))")


@dataclass(frozen=True)
class Polynomial:
    """A polynomial in named variables.

    Attributes
    ----------
    variables : tuple of str
        Names of the variables, in the order of exponents and points.
    terms : mapping of tuple of int to Fraction
        Nonzero coefficient of each product of powers.
    """

    variables: tuple[str, ...]
    terms: Mapping[Exponents, Fraction]

    @classmethod
    def of(cls, variables: Sequence[str], terms: Mapping[Exponents, Fraction]) -> Polynomial:
        """Create a polynomial, dropping terms with coefficient 0.

        Raises
        ------
        CapacityError
            If the polynomial has more than `MOST_TERMS` terms or a degree above `LARGEST_DEGREE`.
        """
        kept = {powers: value for powers, value in terms.items() if value}
        if len(kept) > MOST_TERMS or any(sum(powers) > LARGEST_DEGREE for powers in kept):
            raise CapacityError(
                f"a polynomial may have at most {MOST_TERMS:,} terms and degree {LARGEST_DEGREE}; this one has more"
            )
        return cls(tuple(variables), kept)

    @classmethod
    def constant(cls, variables: Sequence[str], value: Fraction) -> Polynomial:
        """Return a number as a polynomial."""
        return cls.of(variables, {(0,) * len(variables): value})

    @property
    def degree(self) -> int:
        """The largest sum of exponents; 0 for a number."""
        return max([sum(powers) for powers in self.terms], default=0)

    def coefficient(self, powers: Exponents) -> Fraction:
        """Return the coefficient of a product of powers."""
        return self.terms.get(powers, Fraction(0))

    def __add__(self, other: Polynomial) -> Polynomial:
        terms = dict(self.terms)
        for powers, value in other.terms.items():
            terms[powers] = terms.get(powers, Fraction(0)) + value
        return Polynomial.of(self.variables, terms)

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + other.scale(Fraction(-1))

    def __mul__(self, other: Polynomial) -> Polynomial:
        if len(self.terms) * len(other.terms) > MOST_TERMS * 10:
            raise CapacityError(f"a product of {len(self.terms):,} by {len(other.terms):,} terms is too large")
        terms: dict[Exponents, Fraction] = {}
        for one, first in self.terms.items():
            for two, second in other.terms.items():
                powers = tuple([a + b for a, b in zip(one, two, strict=True)])
                terms[powers] = terms.get(powers, Fraction(0)) + first * second
        return Polynomial.of(self.variables, terms)

    def scale(self, factor: Fraction) -> Polynomial:
        """Return the polynomial times a number."""
        return Polynomial.of(self.variables, {powers: value * factor for powers, value in self.terms.items()})

    def __call__(self, point: Sequence[Fraction]) -> Fraction:
        """Return the exact value at a point."""
        result = Fraction(0)
        for powers, value in self.terms.items():
            for base, power in zip(point, powers, strict=True):
                value *= base**power
            result += value
        return result

    def __str__(self) -> str:
        parts = list[str]()
        for powers in sorted(self.terms, key=lambda one: (-sum(one), tuple([-power for power in one]))):
            value = self.terms[powers]
            names = zip(self.variables, powers, strict=True)
            product_of = "*".join([name if power == 1 else f"{name}^{power}" for name, power in names if power])
            size = str(abs(value)) if abs(value) != 1 or not product_of else ""
            size = f"({size})" if "/" in size and product_of else size
            sign = "-" if value < 0 else "+"
            parts.append(f"{sign} {'*'.join(filter(None, [size, product_of]))}")
        text = " ".join(parts) or "0"
        return text.removeprefix("+ ") if not text.startswith("- ") else f"-{text[2:]}"

    def bernstein(self, low: Point, high: Point) -> dict[Exponents, Fraction]:
        """Return the Bernstein coefficients on a box; values there lie between the extreme coefficients.

        The coefficients at the corners are the values at the corners of the box (Garloff 1986).
        """
        count = len(self.variables)
        degrees = [max([powers[k] for powers in self.terms], default=0) for k in range(count)]
        moved: dict[Exponents, Fraction] = {}
        for powers, value in self.terms.items():  # x = low + (high - low) t
            parts = [
                [
                    comb(power, i) * low[k] ** (power - i) * (high[k] - low[k]) ** i
                    for i in range(power + 1)
                ]
                for k, power in enumerate(powers)
            ]  # fmt: skip
            for chosen in product(*[range(power + 1) for power in powers]):
                factor = value
                for k, i in enumerate(chosen):
                    factor *= parts[k][i]
                moved[chosen] = moved.get(chosen, Fraction(0)) + factor
        for k in range(count):  # for each variable in turn: b_i = sum over j of C(i, j) / C(d, j) a_j
            found: dict[Exponents, Fraction] = {}
            for powers, value in moved.items():
                share = value / comb(degrees[k], powers[k])
                for i in range(powers[k], degrees[k] + 1):
                    place = (*powers[:k], i, *powers[k + 1 :])
                    found[place] = found.get(place, Fraction(0)) + comb(i, powers[k]) * share
            moved = found
        return {place: moved.get(place, Fraction(0)) for place in product(*[range(d + 1) for d in degrees])}


def parse_polynomial(text: str, variables: Sequence[str] | None = None) -> Polynomial:
    """Parse a polynomial such as ``x^2 - 2*x*y + 1/3``; the product sign is optional.

    Parameters
    ----------
    variables : sequence of str, optional
        Allowed variables; by default the variables that occur, sorted.

    Raises
    ------
    FormatError
        If the text is not a polynomial. The message gives the position.
    CapacityError
        If the polynomial is too large.
    """
    if len(text) > LONGEST:
        raise CapacityError(f"a polynomial may have at most {LONGEST:,} characters, but this one has {len(text):,}")
    tokens, place = list[str](), 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            raise FormatError(f"character {place + 1}: expected a number, a variable or an operator in {text!r:.80}")
        tokens.append(found[0].strip())
        place = found.end()
    names = sorted({one for one in tokens if one[0].isalpha()}) if variables is None else list(variables)
    for one in tokens:
        if one[0].isalpha() and one not in names:
            raise FormatError(f"no variable named {one!r:.40}; expected {', '.join(names)}")
    return _Reader(tokens, names).read()


class _Reader:
    """A parser for sums of products of powers."""

    def __init__(self, tokens: list[str], names: Sequence[str]) -> None:
        self.tokens, self.names, self.place, self.depth = tokens, names, 0, 0

    def read(self) -> Polynomial:
        result = self._sum()
        if self.place < len(self.tokens):
            raise FormatError(f"expected an operator, got {self.tokens[self.place]!r:.40}")
        return result

    def _next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def _sum(self) -> Polynomial:
        negative = False
        while self._next() in ("+", "-"):
            negative ^= self._next() == "-"
            self.place += 1
        result = self._product()
        result = result.scale(Fraction(-1)) if negative else result
        while (sign := self._next()) in ("+", "-"):
            self.place += 1
            more = self._product()
            result = result + more if sign == "+" else result - more
        return result

    def _product(self) -> Polynomial:
        result = self._power()
        while (token := self._next()) and token not in ("+", "-", ")", "^", "**"):
            if token in ("*", "/"):
                self.place += 1
            factor = self._power()
            if token == "/":
                value = factor.coefficient((0,) * len(self.names))
                if factor.degree or not value:
                    raise FormatError("a polynomial can only be divided by a non-zero number")
                factor = Polynomial.constant(self.names, 1 / value)
            result = result * factor
        return result

    def _power(self) -> Polynomial:
        base = self._atom()
        if self._next() not in ("^", "**"):
            return base
        self.place += 1
        exponent = self._next()
        if not exponent.isdigit() or int(exponent) > LARGEST_DEGREE:
            raise FormatError(f"an exponent must be a whole number up to {LARGEST_DEGREE}, got {exponent!r:.40}")
        self.place += 1
        result = Polynomial.constant(self.names, Fraction(1))
        for _ in range(int(exponent)):
            result = result * base
        return result

    def _atom(self) -> Polynomial:
        token = self._next()
        self.place += 1
        if token == "(":
            self.depth += 1
            if self.depth > DEEPEST:
                raise CapacityError(f"parentheses may be nested at most {DEEPEST} levels deep")
            result = self._sum()
            if self._next() != ")":
                raise FormatError("a parenthesis is not closed")
            self.place += 1
            self.depth -= 1
            return result
        if token[:1].isdigit():
            return Polynomial.constant(self.names, Fraction(token))
        if token[:1].isalpha():
            powers = tuple([int(name == token) for name in self.names])
            return Polynomial.of(self.names, {powers: Fraction(1)})
        raise FormatError(f"expected a number, a variable or a parenthesis, got {token or 'the end'!r:.40}")
