"""Votes weighted by confidence rank (Borda voting)."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.exact import Number, power, ranking
from intact.reason.aggregate.votes import A, Tally, check_lengths, vote


def borda_weights(answers: Sequence[A | None], confidences: Sequence[float | None], p: float = 1.0) -> list[Number]:
    """Return each sample's number of votes; the sample at rank r casts `(N - r + 1)^p` (arXiv 2502.18581).

    Rank 1 is the most confident; ties are ranked by index. Only samples with an answer and a confidence are ranked, and
    N is their number. p = 0 gives the majority vote, a large p best-of-N.
    """
    check_lengths(answers=answers, confidences=confidences)
    voters = [None if answer is None else value for answer, value in zip(answers, confidences, strict=True)]
    order = ranking(voters)
    weights: list[Number] = [0] * len(answers)
    for rank, i in enumerate(order):
        votes = len(order) - rank
        weights[i] = votes ** int(p) if p >= 0 and p == int(p) else power(votes, p)
    return weights


def borda_vote(answers: Sequence[A | None], confidences: Sequence[float | None], p: float = 1.0) -> Tally[A]:
    """Return the answer with the most rank votes (`borda_weights`). Ties go to the answer seen first."""
    return vote(answers, borda_weights(answers, confidences, p))
