"""Best-of-majority: the best reward among answers that are frequent enough."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from intact._base.errors import ParameterError
from intact._base.exact import Number, ranking, written
from intact.reason.aggregate.votes import A, check_lengths, vote


def best_of_majority(
    answers: Sequence[A | None], rewards: Sequence[float | None], alpha: Number, k: int = 1
) -> tuple[A, ...]:
    """Return the k answers with the largest rewards among those with a share of at least alpha, best first.

    Algorithm 3 of arXiv 2510.03199: with `share(a) = count(a) / N`, keep {a: share(a) >= alpha} and rank them by
    reward; alpha = 0 is best-of-N. In theory alpha = 3 / (4 C*) with C* = 1 / p(the right answer); in practice it is
    .003 to .015.

    An answer's reward is the largest reward of its samples, which makes alpha = 0 best-of-N; the paper defines the
    reward of a response only. N counts all samples, including those without an answer. Ties go to the earlier sample.
    If no answer is kept, or none of them has a reward, the majority answer is returned; the result is empty if no
    sample has an answer.

    Raises
    ------
    ParameterError
        If alpha is outside [0, 1], k is below 1, a reward is not a number, or lengths differ.
    """
    check_lengths(answers=answers, rewards=rewards)
    least = written(alpha, "alpha")
    if not 0 <= least <= 1 or k < 1:
        raise ParameterError(f"alpha must lie in [0, 1] and k must be at least 1, got {alpha} and {k}")
    tally = vote(answers)
    kept = {answer for answer, count in tally.weights.items() if Fraction(count, len(answers)) >= least}
    ranked = dict.fromkeys(answers[i] for i in ranking(rewards) if answers[i] in kept)
    best = tuple(answer for answer in ranked if answer is not None)[:k]
    return best or (() if tally.answer is None else (tally.answer,))
