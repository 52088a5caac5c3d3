"""Score how certain the model was, from the log-probabilities of its own tokens and their alternatives.

Each scorer raises ParameterError for completions whose log-probabilities are not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact._base.exact import exp
from intact.reason.aggregate.confidence import entropy, mean_spread
from intact.reason.parts.likeliest import certainty_of, check_likeliest, spread_known
from intact.reason.parts.likeliest import rivals as rivals_of
from intact.reason.problem import Problem, State

RIVALS = 20
"""The number of likeliest tokens requested at each position, which is the maximum supported.

The rest of the distribution is bounded.
"""
UNWRITTEN = -1000.0
"""The score of a completion in which the model generated nothing; lower than any other."""


class MeanLogprob:
    """The mean log-probability of a completion's tokens at temperature 1, in nats, at most 0."""

    name, digest = "mean_logprob", ""
    version = 1
    least, most, reads = -math.inf, 0.0, "tokens"

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order."""
        check_likeliest(states)
        return [state.mean_logprob if state.logprobs else UNWRITTEN for state in states]


class LikelihoodScorer:
    """exp of the mean log-probability of a completion's tokens: 1 over its perplexity, in (0, 1]; 0 if it is empty."""

    name, digest = "likelihood", ""
    version = 1
    least, most, reads = 0.0, 1.0, "tokens"

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order."""
        check_likeliest(states)
        return [exp(state.mean_logprob) if state.logprobs else 0.0 for state in states]


class PerplexityScorer:
    """Minus the perplexity of a completion, exp of minus the mean log-probability: at most -1, at least -e^100."""

    name, digest = "perplexity", ""
    version = 1
    least, most, reads = -math.inf, -1.0, "tokens"

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order."""
        check_likeliest(states)
        return [-exp(min(-state.mean_logprob, 100.0)) if state.logprobs else -exp(100.0) for state in states]


class Entropy:
    """Minus the mean entropy of the distributions that a completion's tokens were sampled from, in nats, at most 0.

    It is exact if the back end knows the full distributions (`State.spread`), as intact's engine does. Other back ends
    only return the 20 likeliest tokens at each position; the rest counts as one more token, so this is the smallest
    entropy compatible with their probabilities. If not even those are known, as with some endpoints, the entropy is
    estimated by minus the mean log-probability of the sampled tokens, which has the entropy as its expectation at
    temperature 1.
    """

    name, digest = "entropy", ""
    version = 3
    least, most, reads, rivals, spread = -math.inf, 0.0, "tokens", RIVALS, True

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order."""
        check_likeliest(states)
        return [self._one(state) for state in states]

    def _one(self, state: State) -> float:
        if not state.logprobs:
            return UNWRITTEN
        if spread_known(state):
            return -mean_spread(state.spread)[0]
        if len(state.top) != state.length or not all(state.top):
            return state.mean_logprob
        return -entropy(rivals_of(state))


class SelfCertainty:
    """The mean divergence of the tokens' distributions from the uniform one (Kang et al. 2025, arXiv 2502.18581).

    It is exact if the back end knows the full distributions (`State.spread`), as intact's engine does. Other back ends
    only return the 20 likeliest tokens at each position; the rest of the probability is spread evenly over the other
    tokens, which gives the lowest possible certainty.

    Parameters
    ----------
    vocabulary : str or int
        Vocabulary size of the model, used if the full distributions are not known.
    """

    name, digest = "self_certainty", ""
    version = 3
    least, most, reads, rivals, spread = 0.0, math.inf, "tokens", RIVALS, True

    def __init__(self, vocabulary: str | int = 100_000) -> None:
        try:
            self._vocabulary = int(vocabulary)
        except ValueError as error:
            raise ParameterError(
                f"the argument of self_certainty must be a vocabulary size, got {vocabulary!r}"
            ) from error

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order."""
        if any(len(state.top) != state.length and not spread_known(state) for state in states):
            raise ParameterError("self_certainty needs texts that were generated with spread or top_logprobs")
        check_likeliest(states)
        return [certainty_of(state, self._vocabulary) for state in states]
