"""P(true): the model's own judgement of an answer (Kadavath et al. 2022, arXiv 2207.05221)."""

from __future__ import annotations

from collections.abc import Sequence

from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.tasks.score.prompts import word_shares

_QUESTION = "Is the proposed answer correct, as far as it goes? Reply with one word, True or False."


class PTrue:
    """The probability of "True" rather than "False" as the model's reply to a question about a problem and its answer.

    p(True) / (p(True) + p(False)) over the 20 likeliest tokens, ignoring case and a leading space; 0.5 if neither is
    among them.

    Parameters
    ----------
    model : str
        The model that judges, by the driver's name for it; by default the generating model.
    """

    name, digest = "p_true", ""
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, model: str = "") -> None:
        self._model = model

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        return (yield from word_shares(problem, states, _QUESTION, ("true", "false"), model=self._model))
