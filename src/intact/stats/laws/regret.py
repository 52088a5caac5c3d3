"""Regret of test-time compute: the loss compared with being right from the first token (arXiv 2503.07572).

Accuracy J(t) after t tokens, up to a budget C, gives the regret

    1 - (1 / C) * integral of J(t) over t from 0 to C:

0 if every answer is right immediately, 1 if none ever is. Qu et al. 2025 measure J at the ends of episodes, after which
they force the model to answer, and connect the points with straight lines from (0, 0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import finite


def regret(tokens: ArrayLike, accuracy: ArrayLike, budget: float, *, straight: bool = True) -> float:
    """Return the regret of a curve that begins at (0, 0) and stays constant after its last point.

    Parameters
    ----------
    tokens, accuracy : array
        Points of the curve, in ascending order of tokens.
    budget : float
        Number of tokens up to which the curve counts; later points are ignored.
    straight : bool
        If true, connect points with straight lines, as in the paper; else accuracy changes only at the points, as when
        a completion is evaluated only at those lengths.

    Raises
    ------
    ParameterError
        If there are no points, tokens are not ascending and above 0, an accuracy is outside [0, 1], or the budget is
        not above 0.
    """
    x, y = finite(tokens, "tokens"), finite(accuracy, "accuracies")
    if x.size != y.size or x.min() <= 0 or (np.diff(x) <= 0).any() or y.min() < 0 or y.max() > 1:
        raise ParameterError(
            f"tokens must be positive and ascending, with an accuracy in [0, 1] for each, got {x.tolist()} and "
            f"{y.tolist()}"
        )
    if not budget > 0:
        raise ParameterError(f"the budget must be positive, got {budget} tokens")
    inside = x < budget
    if straight:
        last = float(np.interp(budget, np.append(0.0, x), np.append(0.0, y)))
        places, heights = np.concatenate([[0.0], x[inside], [budget]]), np.concatenate([[0.0], y[inside], [last]])
        area = float(np.diff(places) @ (heights[1:] + heights[:-1])) / 2
    else:
        area = float(np.diff(np.append(x[inside], budget)) @ y[inside])
    return 1 - area / budget
