"""The model's own judgement of whether it would do better by starting over (Manvi et al. 2024, arXiv 2410.02725)."""

from __future__ import annotations

from collections.abc import Sequence

from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.tasks.score.prompts import word_shares

_QUESTION = "Would you do better if you started over? Reply with one word, Yes or No."


class Restart:
    """The probability of "No" rather than "Yes" as the model's reply when asked if it would do better by starting over.

    p(No) / (p(No) + p(Yes)) over the 20 likeliest tokens, as for `PTrue`; unfinished completions are scored too.

    Parameters
    ----------
    model : str
        The model that judges, by the driver's name for it; by default the generating model.
    """

    name, digest = "restart", ""
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, model: str = "") -> None:
        self._model = model

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        return (yield from word_shares(problem, states, _QUESTION, ("no", "yes"), model=self._model))
