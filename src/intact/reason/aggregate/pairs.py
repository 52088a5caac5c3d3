"""Ranking by pairwise comparison: points for each comparison won."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from intact._base.errors import ParameterError


class Duel(NamedTuple):
    """A comparison of two candidates, identified by index.

    Attributes
    ----------
    winner : int or None
        One of the two candidates; None for a draw.
    """

    first: int
    second: int
    winner: int | None


def points(count: int, duels: Iterable[Duel]) -> list[Fraction]:
    """Return each candidate's points: 1 for a comparison won, 1/2 for a draw (Copeland's score).

    Raises
    ------
    ParameterError
        If a candidate is not below `count` or is compared with itself, or the winner is neither of the two candidates.
    """
    result = [Fraction(0)] * count
    for first, second, winner in duels:
        pair = (first, second)
        if first == second or not all(0 <= one < count for one in pair) or winner not in (*pair, None):
            raise ParameterError(
                f"a duel must be between two of {count} candidates and be won by one of them, got {pair}, {winner}"
            )
        for one in pair:
            result[one] += Fraction(1, 2) if winner is None else Fraction(int(one == winner))
    return result


def consistent(first: int, second: int, forward: int | None, backward: int | None) -> Duel:
    """Return the duel of a pair compared in both orders: a candidate wins only if it is chosen in both comparisons.

    Parameters
    ----------
    forward, backward : int or None
        The winning position, 0 or 1, with `first` at position 0 (forward) and with `second` at position 0 (backward);
        None if no choice was made.
    """
    named = None if forward is None else (first, second)[forward]
    again = None if backward is None else (second, first)[backward]
    return Duel(first, second, named if named == again else None)
