"""Least-squares fits of laws with two parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, library

_EVALUATIONS: Final = 10_000
"""Maximum number of evaluations of a law in one fit; an almost straight curve takes several hundred."""


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
        Lower bounds of both parameters, and upper bounds.

    Raises
    ------
    ParameterError
        If no fit is found.
    """
    optimize = library("scipy.optimize")
    try:
        (one, other), _ = optimize.curve_fit(law, at, values, start, bounds=bounds, max_nfev=_EVALUATIONS)
    except RuntimeError as error:
        raise ParameterError(f"the fit failed: {error}") from error
    return float(one), float(other)
