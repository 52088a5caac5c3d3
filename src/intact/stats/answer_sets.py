"""Conformal answer sets: the answers with enough votes, so many that a right one is among them as often as stated.

Split conformal prediction (Vovk, Gammerman and Shafer 2005) with `1 - share of votes` as the score of an answer, and
infinity for a right answer that was never drawn. From n graded problems the threshold is the score of rank
`ceil((n + 1) level)`; the set of the next problem holds a right answer with a chance of `level` or more, if the
*problems* are exchangeable, whatever the model. Where the threshold is infinite, no set of sampled answers will do, and
the method abstains. For a batch of problems, the threshold is a bound of Batch Predictive Inference
(`intact.stats.batches`). Shares are fractions, so that ties are ties.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeVar

from intact.errors import ParameterError
from intact.exact import Number, written
from intact.stats.batches import batch_quantile

T = TypeVar("T", bound=Hashable)


class AnswerSets(NamedTuple):
    """Sets of answers to problems, each by a threshold from the other problems.

    Attributes
    ----------
    covered
        Share of problems whose set holds a right answer, or that were abstained from; never below the level.
    size
        The mean number of answers of a set, over problems that were not abstained from; nan if there is none.
    single
        Share of problems whose set is one answer.
    empty
        Share of problems whose set is empty, as no answer has enough votes.
    abstained
        Share of problems that were abstained from.
    """

    covered: float
    size: float
    single: float
    empty: float
    abstained: float


def right_share(answers: Sequence[Hashable | None], right: Sequence[bool]) -> Fraction:
    """Return the share of votes of the right answer with most votes; 0 if none was drawn.

    Parameters
    ----------
    answers : sequence of hashable or None, one for each sample of a problem
        None casts no vote, but counts as a sample.
    right : sequence of bool
        If true, the sample's answer is right.

    Raises
    ------
    ParameterError
        If lengths differ, there is no sample, or one answer is called both right and wrong.
    """
    if len(answers) != len(right) or not answers:
        raise ParameterError(
            f"there must be as many answers as verdicts, and one at least: {len(answers)}, {len(right)}"
        )
    votes = Counter(answer for answer, flag in zip(answers, right, strict=True) if flag and answer is not None)
    wrong = {answer for answer, flag in zip(answers, right, strict=True) if not flag}
    for answer in votes:
        if answer in wrong:
            raise ParameterError(f"the answer {answer!r} is called both right and wrong")
    return Fraction(max(votes.values(), default=0), len(answers))


def least_share(shares: Sequence[Number], level: float = 0.9) -> Number | None:
    """Return the share of votes from which an answer belongs to the set of one more problem; None to abstain.

    Parameters
    ----------
    shares : sequence of numbers, one for each graded problem
        The share of votes of its right answer (`right_share`).
    level : float
        The chance that the set holds a right answer, at least.

    Raises
    ------
    ParameterError
        If there is no problem, a share does not lie in [0, 1], or the level does not lie between 0 and 1.
    """
    _check(shares, level)
    rank = math.ceil((len(shares) + 1) * written(level, "the level"))
    return _share_of(sorted(_scores(shares))[rank - 1] if rank <= len(shares) else math.inf)


def least_share_of_batch(
    shares: Sequence[Number], to_come: int, holding: float = 0.9, level: float = 0.9
) -> Number | None:
    """Return the share of votes from which an answer belongs to the sets of a batch of problems; None to abstain.

    Of the next m sets, a share `holding` or more hold a right answer, all at once with a chance of `level` or more.

    Raises
    ------
    ParameterError
        As `least_share`; if no problem is to come, or `holding` does not lie in (0, 1].
    """
    _check(shares, level)
    if not 0 < holding <= 1:
        raise ParameterError(f"the share of sets that hold a right answer must lie in (0, 1], got {holding}")
    if to_come < 1:
        raise ParameterError(f"there must be a problem to come, got {to_come}")
    place = math.ceil(written(holding, "the share") * to_come)
    return _share_of(batch_quantile(_scores(shares), to_come, place, level))


def answer_set(answers: Sequence[T | None], least: Number) -> tuple[T, ...]:
    """Return the answers with a share of votes of `least` or more, by votes; of equals the one seen first.

    Raises
    ------
    ParameterError
        If there is no sample, or the least share does not lie in (0, 1].
    """
    if not answers:
        raise ParameterError("there is no sample")
    if not 0 < least <= 1:
        raise ParameterError(f"the least share of votes must lie in (0, 1], got {least}")
    votes = Counter(answer for answer in answers if answer is not None)
    return tuple(answer for answer, count in votes.most_common() if Fraction(count, len(answers)) >= least)


def leave_one_out(
    answers: Sequence[Sequence[Hashable | None]], right: Sequence[Sequence[bool]], level: float = 0.9
) -> AnswerSets:
    """Return how sets fare, each problem's threshold coming from the others.

    Parameters
    ----------
    answers, right : sequences of problems
        As `right_share` takes them.

    Raises
    ------
    ParameterError
        If there are fewer than two problems or not as many verdicts, or as `right_share` and `least_share`.
    """
    if len(answers) != len(right) or len(answers) < 2:
        raise ParameterError(f"two problems or more are needed, with verdicts of each: {len(answers)}, {len(right)}")
    shares = [right_share(given, flags) for given, flags in zip(answers, right, strict=True)]
    covered = abstained = 0
    sizes = []
    for place, share in enumerate(shares):
        least = least_share(shares[:place] + shares[place + 1 :], level)
        if least is None:
            abstained += 1
        else:
            covered += share >= least
            sizes.append(len(answer_set(answers[place], least)))
    problems = len(shares)
    return AnswerSets(
        (covered + abstained) / problems,
        sum(sizes) / len(sizes) if sizes else math.nan,
        sizes.count(1) / problems,
        sizes.count(0) / problems,
        abstained / problems,
    )


def _scores(shares: Sequence[Number]) -> list[Number]:
    """Return what is small for a right answer with many votes, and infinite for one without."""
    return [-share if share else math.inf for share in shares]


def _share_of(score: Number) -> Number | None:
    return None if score == math.inf else -score


def _check(shares: Sequence[Number], level: float) -> None:
    if not shares:
        raise ParameterError("there is no graded problem")
    for place, share in enumerate(shares):
        if not 0 <= share <= 1:
            raise ParameterError(f"shares of votes lie in [0, 1], got {share} for problem {place}")
    if not 0 < level < 1:
        raise ParameterError(f"the level must lie between 0 and 1, got {level}")
