"""Score a completion with a value head learnt on the model's hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intact._base.errors import ParameterError, ScorerError, SpentError
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend
from intact.tasks.score.value.head import ValueHead

HOPELESS = 0.0
"""The value of a completion that fills the context: its hidden state is not available, and it cannot be finished."""


class ValueScorer:
    """The probability that a completion ends in a right answer, from the model's hidden state at its end, in [0, 1].

    The engine returns the hidden state with one extra token, which is charged; cached pages are not recomputed.

    Parameters
    ----------
    file : str
        A file written by `intact learn value` for the generating model.
    head : ValueHead, optional
        The head itself, if already loaded.
    """

    name = "value"
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, file: str = "", head: ValueHead | None = None) -> None:
        if not file:
            raise ParameterError("the scorer value needs the file of a value head: value:FILE (intact learn value)")
        self.head = ValueHead.read(Path(file)) if head is None else head
        self.digest = self.head.digest

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        extended = yield [
            Extend(state.append(""), max_tokens=1, temperature=0.0, hidden=True)  # append: ignore any end token
            for state in states
        ]
        return [self._value(state) for state in extended]

    def _value(self, state: State) -> float:
        hidden = state.pieces[-1].hidden
        if hidden is not None:
            return self.head.judge(hidden)
        if state.why == "context":
            return HOPELESS
        if state.why == "budget":
            raise SpentError("the budget does not cover the value of a text")
        if state.why == "error":
            raise ScorerError(f"the hidden state is not available: {state.error}")
        raise ParameterError("the back end returns no hidden states; a value head works only on intact's engine")
