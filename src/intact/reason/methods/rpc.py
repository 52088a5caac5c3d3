"""RPC: reasoning pruning and perplexity consistency."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate import rpc as formula
from intact.reason.aggregate.votes import elected
from intact.reason.likeliest import check_likeliest
from intact.reason.limits import Count


@method("Zhou et al. 2025, arXiv 2510.15444", group="samples and a vote", independent=True, temperature=1.0)
def rpc(problem: Problem, *, n: Count = 16, normalised: bool = True) -> Steps:
    """Sample n texts, prune the improbable ones, and add up the probabilities of distinct texts with one answer.

    Texts that a budget or a failure left unwritten have no probability, and no part in it. Equal texts have the
    probability of the first: an endpoint may tell another at every time.

    Parameters
    ----------
    n : int
        Samples.
    normalised : bool
        Whether a text's probability is the geometric mean over its tokens, as in the authors' program, or that of the
        whole text, as in the paper.
    """
    drawn = yield [Extend(problem.start)] * n
    check_likeliest(drawn)
    samples = [state for state in drawn if state.logprobs]
    answers = problem.answers(samples)
    likely: dict[tuple[int, ...], float] = {}
    logprobs = [likely.setdefault(state.tokens, state.logprob) for state in samples]
    lengths = [state.length for state in samples] if normalised else None
    probabilities = formula.probabilities(logprobs, lengths)
    pruned = formula.prune(probabilities)
    tally = formula.perplexity_consistency(answers, [state.tokens for state in samples], probabilities, pruned.kept)
    return elected(tally, answers, samples, probabilities, kept=sum(pruned.kept), mixture=pruned.mixture)
