"""Least squares of the laws that two parameters describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, library

_EVALUATIONS: Final = 10_000
"""The most evaluations of a law in one fit. A curve that hardly bends takes several hundred."""


def fitted(
    law: Callable[[Floats, float, float], Floats],
    at: Floats,
    values: Floats,
    start: tuple[float, float],
    bounds: tuple[tuple[float, float], tuple[float, float]],
) -> tuple[float, float]:
    """Fit a law's two parameters to its values, by `scipy.optimize.curve_fit`.

    Parameters
    ----------
    bounds : pair of pairs
        The least values of both parameters, and the largest.

    Raises
    ------
    ParameterError
        If no fit is found.
    """
    optimize = library("scipy.optimize")
    try:
        (one, other), _ = optimize.curve_fit(law, at, values, start, bounds=bounds, max_nfev=_EVALUATIONS)
    except RuntimeError as error:
        raise ParameterError(f"no fit was found: {error}") from error
    return float(one), float(other)
