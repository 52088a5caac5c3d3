"""Generative verification: a model checks a solution step by step and then gives its verdict."""

from __future__ import annotations

from collections.abc import Sequence

from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend
from intact.tasks.score.prompts import ask_about, share

_TASK = (
    "Check the solution step by step: whether it understands the question, and whether every calculation and every "
    "conclusion is right. Be brief, and do not solve the problem anew unless you must."
)
LENGTH = 512
"""The maximum number of tokens per check."""
_VERDICT = "\n\nIs the solution correct (Yes or No)?"


class Verification:
    """The probability of the verdict "Yes" after a check in words, in [0, 1].

    Zhang et al. 2024, arXiv 2408.15240 (GenRM-CoT); Singhi et al. 2025, arXiv 2504.01005. Deviations: the judge is any
    given model rather than one trained to verify, and the verdict is requested after its check, so truncated checks
    count as well; the score is p(Yes) / (p(Yes) + p(No)) over the 20 likeliest tokens, or 0.5 if neither is among them.

    Parameters
    ----------
    model : str
        The model that judges, by the driver's name for it; by default the generating model.
    """

    name, digest = "verification", ""
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, model: str = "") -> None:
        self._model = model

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        written = yield [
            Extend(ask_about(problem, state, _TASK), max_tokens=LENGTH, temperature=0.7, model=self._model)
            for state in states
        ]
        verdicts = yield [
            Extend(state.append(_VERDICT), max_tokens=1, temperature=0.0, top_logprobs=20, model=self._model)
            for state in written
        ]
        return [share(state, "yes", "no") for state in verdicts]
