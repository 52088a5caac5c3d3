"""Conformal answer sets: all answers with enough votes to include a correct one with a stated probability.

Split conformal prediction (Vovk, Gammerman and Shafer 2005) with `1 - share of votes` as the score of an answer, and
infinity for a correct answer that was never sampled. From n graded problems, the threshold is the score of rank
`ceil((n + 1) level)`. The set of the next problem then contains a correct answer with probability at least `level` for
any model, provided that the *problems* are exchangeable. If the threshold is infinite, no set of sampled answers
suffices, and the method abstains. For a batch of problems, the threshold is a bound from Batch Predictive Inference
(`intact.stats.batches`). Shares are fractions, so ties are exact.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeVar

from intact._base.errors import ParameterError
from intact._base.exact import Number, written
from intact.stats.batches import batch_quantile
from intact.stats.intervals import AMOUNTS, clustered, wilson

T = TypeVar("T", bound=Hashable)


class AnswerSets(NamedTuple):
    """Coverage and size of the answer sets of a group of problems.

    Attributes
    ----------
    covered
        Share of problems whose set contains a correct answer, or on which the method abstained.
    size
        Mean number of answers per set, over problems without abstention; nan if there are no such problems.
    single
        Share of problems whose set has exactly one answer.
    empty
        Share of problems whose set is empty, because no answer has enough votes.
    abstained
        Share of problems on which the method abstained.
    problems
        Number of problems.
    sizes
        Number of answers in each set, over problems without abstention.
    """

    covered: float
    size: float
    single: float
    empty: float
    abstained: float
    problems: int
    sizes: tuple[int, ...]

    def covered_bounds(self, rank: int = 0, level: float = 0.95) -> tuple[float, float]:
        """Return bounds on `covered` over problems (Wilson's).

        Parameters
        ----------
        rank : int
            If the threshold comes from these problems, its rank among their scores (`share_rank`). The lower bound then
            counts only this many covered problems, because any others merely share the threshold's score.
        """
        counted = round(self.covered * self.problems)
        return wilson(min(rank or counted, counted), self.problems, level)[0], wilson(counted, self.problems, level)[1]

    def size_bounds(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return bounds on `size` over problems (Student's t), or None if all sets have the same size."""
        if len(set(self.sizes)) < 2:
            return None
        found = clustered(self.sizes, range(len(self.sizes)), level, support=AMOUNTS)
        return found.low, found.high


def right_share(answers: Sequence[Hashable | None], right: Sequence[bool]) -> Fraction:
    """Return the vote share of the correct answer with the most votes; 0 if none was sampled.

    Parameters
    ----------
    answers : sequence of hashable or None, one for each sample of a problem
        None does not vote, but counts as a sample.
    right : sequence of bool
        If true, the sample's answer is correct.

    Raises
    ------
    ParameterError
        If lengths differ, there are no samples, or the same answer is marked both right and wrong.
    """
    if len(answers) != len(right) or not answers:
        raise ParameterError(
            f"answers and verdicts must be equal in number and not empty, got {len(answers)} and {len(right)}"
        )
    votes = Counter(answer for answer, flag in zip(answers, right, strict=True) if flag and answer is not None)
    wrong = {answer for answer, flag in zip(answers, right, strict=True) if not flag}
    for answer in votes:
        if answer in wrong:
            raise ParameterError(f"the answer {answer!r} is marked both right and wrong")
    return Fraction(max(votes.values(), default=0), len(answers))


def least_share(shares: Sequence[Number], level: float = 0.9) -> Number | None:
    """Return the minimum vote share for an answer to enter the set of the next problem; None to abstain.

    Parameters
    ----------
    shares : sequence of numbers, one for each graded problem
        The vote share of its correct answer (`right_share`).
    level : float
        Minimum probability that the set contains a correct answer.

    Raises
    ------
    ParameterError
        If there are no problems, a share is not in [0, 1], or the level is not between 0 and 1.
    """
    _check(shares, level)
    rank = share_rank(len(shares), level)
    return _share_of(sorted(_scores(shares))[rank - 1] if rank <= len(shares) else math.inf)


def share_rank(graded: int, level: float = 0.9) -> int:
    """Return the rank of the threshold of `least_share` among n scores, `ceil((n + 1) level)`; above n, abstain."""
    return math.ceil((graded + 1) * written(level, "the level"))


def least_share_of_batch(
    shares: Sequence[Number], to_come: int, holding: float = 0.9, level: float = 0.9
) -> Number | None:
    """Return the minimum vote share for an answer to enter the sets of a batch of problems; None to abstain.

    With a probability of at least `level`, at least a share `holding` of the next m sets contain a correct answer.

    Raises
    ------
    ParameterError
        As for `least_share`, or if there are no future problems, or `holding` is not in (0, 1].
    """
    _check(shares, level)
    if not 0 < holding <= 1:
        raise ParameterError(f"the share of sets that contain a right answer must lie in (0, 1], got {holding}")
    if to_come < 1:
        raise ParameterError(f"to_come must be at least 1, got {to_come}")
    place = math.ceil(written(holding, "the share") * to_come)
    return _share_of(batch_quantile(_scores(shares), to_come, place, level))


def answer_set(answers: Sequence[T | None], least: Number) -> tuple[T, ...]:
    """Return the answers whose vote share is at least `least`, by votes; ties keep the order of appearance.

    Raises
    ------
    ParameterError
        If there are no samples, or `least` is not in (0, 1].
    """
    if not answers:
        raise ParameterError("at least one sample is needed")
    if not 0 < least <= 1:
        raise ParameterError(f"the minimum share of votes must lie in (0, 1], got {least}")
    votes = Counter(answer for answer in answers if answer is not None)
    return tuple(answer for answer, count in votes.most_common() if Fraction(count, len(answers)) >= least)


def leave_one_out(
    answers: Sequence[Sequence[Hashable | None]], right: Sequence[Sequence[bool]], level: float = 0.9
) -> AnswerSets:
    """Evaluate answer sets, taking each problem's threshold from the other problems.

    Parameters
    ----------
    answers, right : sequences of problems
        Each problem as for `right_share`.

    Raises
    ------
    ParameterError
        If there are fewer than two problems or lengths differ, or as for `right_share` and `least_share`.
    """
    if len(answers) != len(right) or len(answers) < 2:
        raise ParameterError(
            f"at least two problems are needed, with verdicts for each, got {len(answers)} and {len(right)}"
        )
    shares = _shares(answers, right)
    return _fare(answers, shares, [least_share(shares[:i] + shares[i + 1 :], level) for i in range(len(shares))])


def sets_at(
    answers: Sequence[Sequence[Hashable | None]], right: Sequence[Sequence[bool]], least: Number | None
) -> AnswerSets:
    """Evaluate answer sets for a given minimum vote share; None abstains on all problems.

    Even if the share was derived from these problems, the bounds on coverage and size contain the values for new
    problems about as often as stated. The bounds of `leave_one_out` do so less often, because its thresholds vary.

    Raises
    ------
    ParameterError
        If there are no problems or lengths differ, or as for `right_share` and `answer_set`.
    """
    if len(answers) != len(right) or not answers:
        raise ParameterError(
            f"at least one problem is needed, with verdicts for each, got {len(answers)} and {len(right)}"
        )
    return _fare(answers, _shares(answers, right), [least] * len(answers))


def _shares(answers: Sequence[Sequence[Hashable | None]], right: Sequence[Sequence[bool]]) -> list[Fraction]:
    return [right_share(given, flags) for given, flags in zip(answers, right, strict=True)]


def _fare(
    answers: Sequence[Sequence[Hashable | None]], shares: Sequence[Fraction], thresholds: Sequence[Number | None]
) -> AnswerSets:
    """Evaluate answer sets, given each problem's threshold and its vote share for the correct answer."""
    covered, sizes = 0, []
    for given, share, least in zip(answers, shares, thresholds, strict=True):
        if least is None:
            covered += 1
        else:
            covered += share >= least
            sizes.append(len(answer_set(given, least)))
    problems = len(shares)
    return AnswerSets(
        covered / problems,
        sum(sizes) / len(sizes) if sizes else math.nan,
        sizes.count(1) / problems,
        sizes.count(0) / problems,
        abstained=(problems - len(sizes)) / problems,
        problems=problems,
        sizes=tuple(sizes),
    )


def _scores(shares: Sequence[Number]) -> list[Number]:
    """Convert shares to conformal scores: smaller for more votes, infinite for a correct answer without votes."""
    return [-share if share else math.inf for share in shares]


def _share_of(score: Number) -> Number | None:
    return None if score == math.inf else -score


def _check(shares: Sequence[Number], level: float) -> None:
    if not shares:
        raise ParameterError("at least one graded problem is needed")
    for place, share in enumerate(shares):
        if not 0 <= share <= 1:
            raise ParameterError(f"shares of votes must lie in [0, 1], got {share} for problem {place}")
    if not 0 < level < 1:
        raise ParameterError(f"the level must lie between 0 and 1, got {level}")
