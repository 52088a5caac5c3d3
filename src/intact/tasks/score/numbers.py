"""Parse numbers exactly, as people and models write them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

_SIGN = r"(?<![\w)\]}.])[-−–+]?"
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_PLAIN = rf"(?:{_WHOLE}(?:\.\d+)?|(?<![\d.])\.\d+)(?:[eE][-+]?\d{{1,3}}(?![\w.]))?"
NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})(?:[$€£]\s?(?P<inner>[-−–]?))?"
    rf"(?:(?P<mixed>{_WHOLE})[ ]+(?=\d+/\d))?(?P<top>{_PLAIN})(?:/(?P<bottom>\d+(?:\.\d+)?)(?![\d/]))?"
)
"""One number: sign, currency, thousands separators, decimals, exponent, fraction, mixed fraction.

A dash after a digit, letter or bracket is not a sign ("10-3", "x-3"), nor is one before a space (a list's dash).
"""

LONGEST = 1000
"""Strings longer than this are rejected as numbers: they would be an attack."""


class Numeral(NamedTuple):
    """A number found in a string: its value and its span."""

    value: Fraction
    start: int
    end: int


def numerals(text: str) -> list[Numeral]:
    """Return all numbers in a string, in order."""
    read = [(match, _value(match)) for match in NUMBER.finditer(text)]
    return [Numeral(value, *match.span()) for match, value in read if value is not None]


def as_number(text: str) -> Fraction | None:
    """Return the value of a string that is a single number, possibly with a currency or percent sign; else None."""
    match = NUMBER.fullmatch(text.strip().removesuffix("%").rstrip().removesuffix("."))
    return _value(match) if match else None


def _value(match: re.Match[str]) -> Fraction | None:
    if match.end() - match.start() > LONGEST:
        return None
    value = Fraction(match["top"].replace(",", ""))
    if match["bottom"] is not None:
        below = Fraction(match["bottom"])
        if not below:
            return None
        value /= below
    if match["mixed"] is not None:
        value += Fraction(match["mixed"].replace(",", ""))
    negative = (match["sign"] in ("-", "−", "–")) != bool(match["inner"])
    return -value if negative else value


def canonical(value: Fraction) -> str:
    """Return the canonical form of a number: an integer, a terminating decimal, or else a fraction in lowest terms."""
    if value.denominator == 1:
        return str(value.numerator)
    places = 0
    while places < 12 and (value * 10**places).denominator != 1:
        places += 1
    if (value * 10**places).denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
