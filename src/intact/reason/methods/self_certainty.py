"""Self-certainty with Borda voting."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, TypeAlias

from intact.reason import Problem, Steps, method
from intact.reason.aggregate.borda import borda_weights
from intact.reason.limits import Count, Likeliest, Samples, within
from intact.reason.parts.composing import composed, vote_by, write
from intact.reason.parts.likeliest import certainty_of
from intact.reason.populations.transformers import reweigh, sample, start

MOST_VOCABULARY: Final = (1 << 31) - 1
Power: TypeAlias = Annotated[float, partial(within, 0, 50)]
"""Exponent of the exact vote counts; above 50, they would not fit in a float."""


def check_vocabulary(*, top: int, vocabulary: int) -> None:
    """Raise ParameterError unless the vocabulary size is at least the reported number of tokens and below 2^31."""
    within(top, MOST_VOCABULARY, vocabulary=vocabulary)


@composed("start sample reweigh vote")
@method(
    "Kang et al. 2025, arXiv 2502.18581",
    version=2,
    group="samples and a vote",
    independent=True,
    checks=(check_vocabulary,),
    temperature=0.7,
)
def self_certainty(
    problem: Problem, *, n: Samples = 16, p: Power = 0.5, top: Likeliest = 20, vocabulary: Count = 100_000
) -> Steps:
    """Sample n completions, rank them by self-certainty, and let rank r cast (n - r + 1)^p votes for its answer.

    Parameters
    ----------
    p : float
        Exponent of the votes, at most 50: 0 gives the majority vote; larger values favour the most certain samples.
    top : int
        Number of token probabilities per position requested from an endpoint, at most 20; the native engine computes
        exact certainties.
    vocabulary : int
        Vocabulary size of an endpoint's model, over which the remaining probability is spread evenly.
    """
    texts = yield from sample(start(problem.start, n), partial(write, top_logprobs=top, spread=True))
    certainties = [certainty_of(state, vocabulary) for state in texts]
    votes = borda_weights(problem.answers(texts.values), certainties, p)
    return vote_by(problem, reweigh(texts, votes), certainties, certainties=certainties)
