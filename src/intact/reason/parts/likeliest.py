"""The probabilities of tokens that a back end reports, as methods need them."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.aggregate.confidence import mean_spread, self_certainty
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


def spread_known(state: State) -> bool:
    """Return true if the spread of the whole distribution is known at each token of a text that has some."""
    return 0 < state.length == len(state.spread)


def certainty_of(state: State, vocabulary: int) -> float:
    """Return a text's self-certainty, in nats: exact where its spreads are known, else the least that rivals allow.

    Parameters
    ----------
    vocabulary : int
        Tokens of the model; of use for the bound alone.

    Raises
    ------
    ParameterError
        If neither spreads nor rivals are known.
    """
    return mean_spread(state.spread)[1] if spread_known(state) else self_certainty(rivals(state), vocabulary)
