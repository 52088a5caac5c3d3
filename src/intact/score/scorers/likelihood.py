"""Score a text by the likelihood that the model gave it."""

from __future__ import annotations

from collections.abc import Sequence

from intact.exact import exp
from intact.reason.likeliest import check_likeliest
from intact.reason.problem import Problem, State


class LikelihoodScorer:
    """exp of the mean log-probability of a text's tokens: 1 over its perplexity, in (0, 1]; 0 for an empty text."""

    name, digest = "likelihood", ""
    version = 1

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the scores, in order.

        Raises
        ------
        ParameterError
            If there are texts whose log-probabilities are not known.
        """
        check_likeliest(states)
        return [exp(state.mean_logprob) if state.logprobs else 0.0 for state in states]
