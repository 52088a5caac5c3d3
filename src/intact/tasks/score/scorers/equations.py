"""Score a completion by its calculations."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact.reason.problem import Problem, State
from intact.tasks.score.equations import share_right


class Equations:
    """The share of a completion's equations that hold, in [0, 1]; over the whole, so a slip also lowers later scores.

    Parameters
    ----------
    without : str or float
        The score of a completion without equations.
    """

    name, digest = "equations", ""
    version = 1
    uses = ("equations",)

    def __init__(self, without: str | float = 0.5) -> None:
        try:
            self._without = float(without)
        except ValueError as error:
            raise ParameterError(
                f"the argument of equations must be the score of a text without equations, got {without!r}"
            ) from error
        self.least, self.most = min(0.0, self._without), max(1.0, self._without)

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order."""
        shares = [share_right(state.text) for state in states]
        return [self._without if share is None else share for share in shares]
