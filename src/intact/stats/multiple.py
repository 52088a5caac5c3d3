"""Correct p-values for multiple comparisons, bit for bit as statsmodels does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Booleans, Floats, Integers, finite, inside


class Corrected(NamedTuple):
    """Adjusted p-values in the order given, and a flag for each hypothesis, true if it is rejected at the level."""

    p: Floats
    rejected: Booleans


def holm(p: ArrayLike, level: float = 0.05) -> Corrected:
    """Adjust p-values so that the probability of any false rejection is at most the level (Holm 1979).

    Raises
    ------
    ParameterError
        If there are no p-values, or one is not in [0, 1].
    """
    values, order, level = _sorted(p, level)
    left = np.arange(values.size, 0, -1)
    rejected = np.logical_and.accumulate(values <= level / left)
    return _in_order(np.maximum.accumulate(values * left), rejected, order)


def benjamini_hochberg(p: ArrayLike, level: float = 0.05) -> Corrected:
    """Adjust p-values so that the expected share of false rejections is at most the level.

    The procedure is that of Benjamini and Hochberg (1995).

    Raises
    ------
    ParameterError
        If there are no p-values, or one is not in [0, 1].
    """
    values, order, level = _sorted(p, level)
    share = np.arange(1, values.size + 1) / values.size
    rejected = np.logical_or.accumulate((values <= share * level)[::-1])[::-1]
    return _in_order(np.minimum.accumulate((values / share)[::-1])[::-1], rejected, order)


def _sorted(p: ArrayLike, level: float) -> tuple[Floats, Integers, float]:
    """Validate the arguments; return the p-values in ascending order, their indices in `p`, and the level."""
    values = finite(p, "p-values")
    if ((values < 0) | (values > 1)).any():
        raise ParameterError("p-values must lie in [0, 1]")
    order = np.argsort(values)
    return values[order], order, inside(level, "the level")


def _in_order(adjusted: Floats, rejected: Booleans, order: Integers) -> Corrected:
    """Restore results for sorted p-values to the order in which the p-values were given."""
    back = np.argsort(order)
    return Corrected(np.minimum(adjusted, 1)[back], rejected[back])
