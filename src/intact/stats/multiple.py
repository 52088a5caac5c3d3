"""Corrections of p-values for the number of comparisons, by statsmodels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact.errors import ParameterError
from intact.stats.checks import Booleans, Floats, finite, inside, library


class Corrected(NamedTuple):
    """Adjusted p-values, in the order given, and which hypotheses are rejected at the level."""

    p: Floats
    rejected: Booleans


def holm(p: ArrayLike, level: float = 0.05) -> Corrected:
    """Adjust p-values so that the chance of any false rejection is at most the level (Holm 1979).

    Raises
    ------
    ParameterError
        If there is no p-value or one does not lie in [0, 1].
    """
    return _corrected(p, level, "holm")


def benjamini_hochberg(p: ArrayLike, level: float = 0.05) -> Corrected:
    """Adjust p-values so that the expected share of false rejections is at most the level.

    The procedure is that of Benjamini and Hochberg (1995).

    Raises
    ------
    ParameterError
        If there is no p-value or one does not lie in [0, 1].
    """
    return _corrected(p, level, "fdr_bh")


def _corrected(p: ArrayLike, level: float, method: str) -> Corrected:
    multitest = library("statsmodels.stats.multitest")
    values = finite(p, "p-values")
    if ((values < 0) | (values > 1)).any():
        raise ParameterError("p-values must lie in [0, 1]")
    rejected, adjusted, *_ = multitest.multipletests(values, inside(level, "the level"), method)
    return Corrected(np.asarray(adjusted), np.asarray(rejected))
