"""A value head that was learnt on the model's hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intact._base.errors import ParameterError, ScorerError, SpentError
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend
from intact.tasks.score.value.head import ValueHead

HOPELESS = 0.0
"""The value of a text that fills the context: its hidden state cannot be asked for, and it has no end."""


class ValueScorer:
    """The chance that a text ends in a right answer, by the model's hidden state behind it, in [0, 1].

    The engine tells the hidden state along with one more token, which is charged; where the text has pages, nothing is
    read again.

    Parameters
    ----------
    file : str
        What `intact learn value` wrote, for the model that writes.
    head : ValueHead, optional
        What is in it, if that is known.
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
            Extend(state.append(""), max_tokens=1, temperature=0.0, hidden=True)  # append: as if no end token came
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
            raise SpentError("the budget does not pay for the value of a text")
        if state.why == "error":
            raise ScorerError(f"a hidden state cannot be had: {state.error}")
        raise ParameterError("the back end tells no hidden states; a value head works on our engine alone")
