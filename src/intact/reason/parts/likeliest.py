"""Token probabilities reported by a back end, in the form needed by methods."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.aggregate.confidence import mean_spread, self_certainty
from intact.reason.problem import State


def check_likeliest(samples: Sequence[State]) -> None:
    """Raise ParameterError if any completion lacks tokens or log-probabilities.

    Completions that ended with an error are exempt: they count as not generated.
    """
    whole = [state for state in samples if state.why != "error"]
    if any(len(state.logprobs) != state.length for state in whole):
        raise ParameterError("the back end does not report log-probabilities of all tokens, which this method needs")
    if any(state.text and not state.length for state in whole):
        raise ParameterError(
            "part of a text has no tokens and so no log-probabilities: score whole texts (reduction=last), "
            "or choose a scorer that reads texts, such as p_true"
        )


def rivals(state: State) -> list[list[float]]:
    """Return the log-probabilities of the likeliest tokens at each generated position.

    For a completion that ended with an error, positions without them are left out.

    Raises
    ------
    ParameterError
        If the back end does not report log-probabilities at every position.
    """
    if state.why != "error" and (len(state.top) != state.length or not all(state.top)):
        raise ParameterError("the back end does not report log-probabilities of other tokens, which this method needs")
    return [[logprob / LOGPROB_SCALE for _, logprob in place] for place in state.top if place]


def spread_known(state: State) -> bool:
    """Return true if a completion has tokens, and the spread of the full distribution is known at each of them."""
    return 0 < state.length == len(state.spread)


def certainty_of(state: State, vocabulary: int) -> float:
    """Return a completion's self-certainty in nats: exact if spreads are known, else a lower bound from likely tokens.

    Parameters
    ----------
    vocabulary : int
        Vocabulary size of the model; used only for the bound.

    Raises
    ------
    ParameterError
        If neither spreads nor the likeliest tokens are known.
    """
    return mean_spread(state.spread)[1] if spread_known(state) else self_certainty(rivals(state), vocabulary)
