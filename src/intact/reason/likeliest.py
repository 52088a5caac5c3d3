"""What a back end tells of tokens' probabilities, as methods need it."""

from __future__ import annotations

from collections.abc import Sequence

from intact.errors import ParameterError
from intact.reason.state import LOGPROB_SCALE, State


def check_told(samples: Sequence[State]) -> None:
    """Raise ParameterError if texts were written whose log-probabilities the back end does not tell."""
    if any(state.pieces for state in samples) and not any(state.logprobs for state in samples):
        raise ParameterError("the back end tells no log-probabilities, which this method needs")


def rivals(state: State) -> list[list[float]]:
    """Log-probabilities of the likeliest tokens at each place that was written.

    Raises
    ------
    ParameterError
        If there are none, because the back end does not tell them.
    """
    if state.length and not all(state.top):
        raise ParameterError("the back end tells no log-probabilities of other tokens, which this method needs")
    return [[logprob / LOGPROB_SCALE for _, logprob in place] for place in state.top]
