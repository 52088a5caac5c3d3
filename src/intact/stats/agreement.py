"""Agreement of two raters: a table of their labels, the share on which they agree, and Cohen's kappa."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact.stats.intervals import wilson


class Agreement(NamedTuple):
    """The agreement of two raters.

    Attributes
    ----------
    labels : tuple of str
        All labels, in the order of the table's rows and columns.
    table : tuple of tuple of int
        Number of items by the first rater's label (row) and the second rater's (column).
    share, low, high : float
        The share of equal labels, and its 95% score interval.
    kappa : float or None
        `(share - chance) / (1 - chance)` (Cohen 1960); None if both raters always give the same label.
    """

    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    share: float
    low: float
    high: float
    kappa: float | None


def agreement(first: Sequence[str], second: Sequence[str], labels: Sequence[str] = ()) -> Agreement:
    """Return the agreement of two raters of the same items.

    >>> agreement(["yes", "yes", "no", "no"], ["yes", "no", "no", "no"]).kappa
    0.5

    Parameters
    ----------
    labels : sequence of str
        Labels in the order of the table; others follow alphabetically.

    Raises
    ------
    ParameterError
        If there are no items, or the raters have different numbers of them.
    """
    if not first or len(first) != len(second):
        raise ParameterError(f"agreement needs labels of the same items, got {len(first)} and {len(second)}")
    names = tuple(dict.fromkeys([*labels, *sorted({*first, *second})]))
    pairs, count = Counter(zip(first, second, strict=True)), len(first)
    table = tuple(tuple(pairs[one, other] for other in names) for one in names)
    equal = sum(pairs[name, name] for name in names)
    rows, columns = Counter(first), Counter(second)
    chance = Fraction(sum(rows[name] * columns[name] for name in names), count * count)
    kappa = None if chance == 1 else float((Fraction(equal, count) - chance) / (1 - chance))
    low, high = wilson(equal, count)
    return Agreement(names, table, equal / count, low=low, high=high, kappa=kappa)
