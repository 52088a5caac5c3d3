"""NoThinking with confidence-weighted votes."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.borda import borda_vote
from intact.reason.aggregate.votes import elected
from intact.reason.limits import Count, Likeliest, Samples
from intact.reason.methods.no_thinking import PREFILL
from intact.reason.methods.self_certainty import Power, check_vocabulary
from intact.reason.parts.likeliest import certainty_of


@method(
    "Ma et al. 2025, arXiv 2504.09858",
    version=2,
    group="samples and a vote",
    independent=True,
    checks=(check_vocabulary,),
    temperature=0.6,
    top_p=0.95,
)
def no_thinking_certain(
    problem: Problem,
    *,
    n: Samples = 16,
    p: Power = 0.5,
    top: Likeliest = 20,
    vocabulary: Count = 100_000,
    prefill: str = PREFILL,
) -> Steps:
    """Prefill a finished thinking block, sample n answers, and give more votes to the more certain ones.

    Parameters
    ----------
    p : float
        Exponent: rank r of self-certainty casts (n - r + 1)^p votes; 0 gives the majority vote, the maximum is 50.
    top : int
        Number of token probabilities per position requested from an endpoint, at most 20; the native engine computes
        exact certainties.
    vocabulary : int
        Vocabulary size of an endpoint's model, over which the remaining probability is spread evenly.
    prefill : str
        Opening of the model's turn; leave out ``<think>`` if the chat template already opens the thinking.
    """
    samples = yield [Extend(problem.start.append(prefill), top_logprobs=top, spread=True)] * n
    answers = problem.answers(samples)
    certainties = [certainty_of(state, vocabulary) for state in samples]
    return elected(borda_vote(answers, certainties, p), answers, samples, certainties, certainties=certainties)
