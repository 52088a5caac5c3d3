"""RPC: reasoning pruning and perplexity consistency."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from intact.reason import Problem, Steps, method
from intact.reason.aggregate import rpc as formula
from intact.reason.limits import Samples, one_of
from intact.reason.parts.composing import composed, vote_by, write
from intact.reason.parts.likeliest import check_likeliest
from intact.reason.populations.transformers import cut, reweigh, sample, start

FORMS: Final = ("consistency", "inclusion")


@composed("start sample cut reweigh vote")
@method("Zhou et al. 2025, arXiv 2510.15444", version=2, group="samples and a vote", independent=True, temperature=1.0)
def rpc(
    problem: Problem,
    *,
    n: Samples = 16,
    normalised: bool = True,
    form: Annotated[str, partial(one_of, FORMS)] = "consistency",
) -> Steps:
    """Sample n completions, prune improbable ones, and sum the probabilities of distinct completions per answer.

    Completions that were not generated because of a budget or a failure have no probability and are excluded. Identical
    completions get the probability of the first one, since an endpoint may report a different one each time. If no kept
    completion has an answer, the pruned ones get one vote each.

    Parameters
    ----------
    normalised : bool
        If true, a completion's probability is the geometric mean over its tokens, as in the authors' code; otherwise it
        is the probability of the whole completion, as in the paper.
    form : str
        Weight of a completion: consistency, its probability, as in the paper; inclusion, its probability divided by the
        probability that it is among the n samples (Horvitz & Thompson), for samples drawn at temperature 1. Pruning is
        the same in both.
    """
    texts = yield from sample(start(problem.start, n), write)
    check_likeliest(texts.values)
    texts = cut(texts, texts.where(lambda text: bool(text.logprobs)))
    likely: dict[tuple[int, ...], float] = {}
    logprobs = [likely.setdefault(state.tokens, state.logprob) for state in texts]
    lengths = [state.length for state in texts] if normalised else None
    probabilities = formula.probabilities(logprobs, lengths)
    pruned = formula.prune(probabilities)
    tokens = [state.tokens for state in texts]
    if form == "inclusion":
        weights = formula.inclusion_weights(tokens, logprobs)
        weights = [weight * kept for weight, kept in zip(weights, pruned.kept, strict=True)]
    else:
        weights = formula.distinct_weights(tokens, probabilities, pruned.kept)
    texts = reweigh(texts, weights)
    return vote_by(problem, texts, probabilities, kept=sum(pruned.kept), mixture=pruned.mixture)
