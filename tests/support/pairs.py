"""A finite world of questions, and the calibrated law of pairs of answers of whoever cannot tell some of them apart."""

from fractions import Fraction

Law = dict[str, Fraction]


def _law(a: int, b: int, c: int) -> Law:
    return {letter: Fraction(part, 12) for letter, part in zip("abc", (a, b, c), strict=True) if part}


WORLD: dict[str, list[Law]] = {
    "unsure": [_law(12, 0, 0), _law(0, 12, 0), _law(6, 6, 0)],
    "sure": [_law(9, 3, 0), _law(9, 3, 0)],
    "mixed": [_law(4, 4, 4), _law(2, 10, 0), _law(0, 1, 11), _law(3, 3, 6), _law(11, 0, 1)],
}
"""For each group, of questions that look the same, the true law of answers to each question."""


def alone(group: str) -> Law:
    """The chance of each answer, given the group."""
    laws = WORLD[group]
    return {y: p for y in "abc" if (p := sum((law.get(y, Fraction(0)) for law in laws), Fraction(0)) / len(laws))}


def informed(group: str, first: str) -> Law:
    """The chance of each second answer, given the group and the first answer, drawn independently of it."""
    laws = WORLD[group]
    both = {y: sum((p.get(first, Fraction(0)) * p.get(y, Fraction(0)) for p in laws), Fraction(0)) for y in "abc"}
    return {y: p / len(laws) / alone(group)[first] for y, p in both.items() if p}
