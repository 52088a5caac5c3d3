"""The sentence on upcoming problems: "90% sure that between 14 and 35 of the next 100 are right"."""

from __future__ import annotations

from intact.stats.prediction import PredictedCount, predict_right

PROBLEMS = 20
"""The minimum number of graded problems needed for a prediction."""
LEVEL = 0.9
"""The default minimum probability that a prediction holds."""
AHEAD = (100, 20)
"""Numbers of upcoming problems to make predictions for."""


def next_right(right: int, graded: int, level: float = LEVEL) -> dict[int, PredictedCount]:
    """Return bounds on the number of right answers among the next `AHEAD` problems (`predict_right`).

    Raises
    ------
    ParameterError
        As `predict_right`.
    """
    return {to_come: predict_right(right, graded, to_come, level) for to_come in AHEAD}


def sure_words(right: int, graded: int, level: float = LEVEL) -> str:
    """Describe how many answers are right and how many of the next ones will be; raise as `next_right` does."""
    far, near = (
        f"between {low} and {high} of the next {to_come}"
        for to_come, (low, high) in next_right(right, graded, level).items()
    )
    return f"{right:,} of {graded:,} are right. {level:.0%} sure that {far} are right, and {near}."
