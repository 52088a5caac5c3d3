"""Sampling until a verifier accepts: the best number of attempts, and the probability that an accepted answer is right.

The law is the one in `intact.stats.laws.verifier` (Stroebl et al. 2024, arXiv 2411.17501). Here it is computed in
fractions, because the number of attempts decides what a method does and must be the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact._base.exact import Number, written


class ProblemKind(NamedTuple):
    """A kind of problem.

    Attributes
    ----------
    rate : Fraction
        The probability that a sample is right.
    prior : Fraction
        The share of problems of this kind.
    """

    rate: Fraction
    prior: Fraction


class AcceptanceRates(NamedTuple):
    """A verifier: the probability that it accepts a right answer, and the probability that it rejects a wrong one."""

    completeness: Fraction
    soundness: Fraction

    def right(self, kind: ProblemKind) -> Fraction:
        """Return the probability that a sample is right and accepted."""
        return self.completeness * kind.rate

    def fluke(self, kind: ProblemKind) -> Fraction:
        """Return the probability that a sample is wrong and accepted."""
        return (1 - self.soundness) * (1 - kind.rate)


def read_kinds(text: str) -> list[ProblemKind]:
    """Parse kinds of problems, such as ``0.87*0.58, 0.13*0.42``: rate times prior; the prior of a single rate is 1.

    Raises
    ------
    ParameterError
        If the text cannot be parsed, a rate is outside [0, 1], or the priors do not sum to 1.
    """
    kinds = []
    for part in text.split(","):
        try:
            rate, _, prior = part.partition("*")
            kinds.append(ProblemKind(Fraction(rate.strip()), Fraction(prior.strip() or "1")))
        except (ValueError, ZeroDivisionError) as error:
            raise ParameterError(f"rates must have a form such as 0.87*0.58, 0.13*0.42, got {text!r:.60}") from error
    if not all(0 <= kind.rate <= 1 and kind.prior >= 0 for kind in kinds) or sum(kind.prior for kind in kinds) != 1:
        raise ParameterError(f"rates must lie in [0, 1] and their priors must sum to 1, got {text!r:.60}")
    return kinds


def check_of(completeness: Number, soundness: Number) -> AcceptanceRates:
    """Return a verifier with these probabilities, read as exact decimals."""
    return AcceptanceRates(written(completeness, "completeness"), written(soundness, "soundness"))


def best_number(kinds: Sequence[ProblemKind], check: AcceptanceRates, fluke: Number, most: int) -> int:
    """Return the number of attempts, up to `most`, with the highest value; 0 if no attempt is worth it.

    Attempt k has the value `sum over kinds of prior (right - cost fluke) (1 - right - fluke)^(k - 1)`: a right answer
    is worth 1, a fluke is worth minus its cost, and no answer is worth 0. Ties go to fewer attempts.

    Parameters
    ----------
    fluke : number
        Cost of a wrong answer.
    """
    cost = written(fluke, "the cost of a wrong answer")
    value = highest = Fraction(0)
    best = 0
    open_ = [kind.prior for kind in kinds]
    for attempt in range(1, most + 1):
        value += sum(
            left * (check.right(kind) - cost * check.fluke(kind)) for left, kind in zip(open_, kinds, strict=True)
        )
        open_ = _after(open_, kinds, check)
        if value > highest:
            highest, best = value, attempt
    return best


def chance_right(kinds: Sequence[ProblemKind], check: AcceptanceRates, attempt: int) -> Fraction | None:
    """Return the chance that an answer accepted at `attempt` (from 1) is right; None if none can be accepted."""
    open_ = [kind.prior for kind in kinds]
    for _ in range(attempt - 1):
        open_ = _after(open_, kinds, check)
    right = sum(left * check.right(kind) for left, kind in zip(open_, kinds, strict=True))
    fluke = sum(left * check.fluke(kind) for left, kind in zip(open_, kinds, strict=True))
    return Fraction(right) / (right + fluke) if right + fluke else None


def _after(open_: Sequence[Fraction], kinds: Sequence[ProblemKind], check: AcceptanceRates) -> list[Fraction]:
    """Return the joint probability of each problem kind and one more rejection."""
    return [left * (1 - check.right(kind) - check.fluke(kind)) for left, kind in zip(open_, kinds, strict=True)]
