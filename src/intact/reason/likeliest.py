"""The probabilities of tokens that a back end reports, as methods need them."""

from __future__ import annotations

from collections.abc import Sequence

from intact.errors import ParameterError
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.problem import State


def check_likeliest(samples: Sequence[State]) -> None:
    """Raise ParameterError if there are texts whose tokens or log-probabilities are not known, or not all.

    Of what broke off with an error they may be missing: it counts as unwritten.
    """
    whole = [state for state in samples if state.why != "error"]
    if any(len(state.logprobs) != state.length for state in whole):
        raise ParameterError("the back end tells no log-probabilities, or not all, which this method needs")
    if any(state.text and not state.length for state in whole):
        raise ParameterError(
            "a part of a text has no tokens, and so no log-probabilities: judge whole texts (reduction=last), "
            "or choose a scorer that reads texts, such as p_true"
        )


def rivals(state: State) -> list[list[float]]:
    """Return log-probabilities of the likeliest tokens at each place that was written.

    Of what broke off with an error they may be missing: these places are left out.

    Raises
    ------
    ParameterError
        If there are none, or not all, because the back end does not tell them.
    """
    if state.why != "error" and (len(state.top) != state.length or not all(state.top)):
        raise ParameterError("the back end tells no log-probabilities of other tokens, which this method needs")
    return [[logprob / LOGPROB_SCALE for _, logprob in place] for place in state.top if place]
