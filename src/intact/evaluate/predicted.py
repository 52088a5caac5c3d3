"""The sentence on the next problems: "90% sure that between 14 and 35 of the next 100 are right"."""

from __future__ import annotations

from intact.stats.prediction import PredictedCount, predict_right

PROBLEMS = 20
"""The least number of graded problems from which others are predicted."""
LEVEL = 0.9
"""The chance with which predictions hold, at least, by default."""
AHEAD = (100, 20)
"""Numbers of problems to come."""


def next_right(right: int, graded: int, level: float = LEVEL) -> dict[int, PredictedCount]:
    """Return the bounds of the right answers among `AHEAD` problems to come (`predict_right`).

    Raises
    ------
    ParameterError
        As `predict_right`.
    """
    return {to_come: predict_right(right, graded, to_come, level) for to_come in AHEAD}


def sure_words(right: int, graded: int, level: float = LEVEL) -> str:
    """Say how many answers are right, and how many of the next ones will be; errors as of `next_right`."""
    far, near = (
        f"between {low} and {high} of the next {to_come}"
        for to_come, (low, high) in next_right(right, graded, level).items()
    )
    return f"{right:,} of {graded:,} are right. {level:.0%} sure that {far} are right, and {near}."
