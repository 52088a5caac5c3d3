"""NoThinking, chosen by confidence."""

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
    """Tell a thinking model that it has thought already, sample n answers, and let certain ones cast more votes.

    Parameters
    ----------
    p : float
        Rank r of self-certainty casts (n - r + 1)^p votes: 0 is the majority vote, to 50.
    top : int
        Tokens at each place whose probability an endpoint reports, to 20; of our engine certainties are exact.
    vocabulary : int
        Tokens of an endpoint's model, among which the rest of the probability is spread evenly.
    prefill : str
        What the model's turn begins with; for a template that opens the thinking itself, leave out ``<think>``.
    """
    samples = yield [Extend(problem.start.append(prefill), top_logprobs=top, spread=True)] * n
    answers = problem.answers(samples)
    certainties = [certainty_of(state, vocabulary) for state in samples]
    return elected(borda_vote(answers, certainties, p), answers, samples, certainties, certainties=certainties)
