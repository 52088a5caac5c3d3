"""The figures that a run ends with: which have an interval, by what, and why others have none."""

import pytest

from intact.evaluate.results import Record
from intact.evaluate.scores import scores
from intact.tasks.choose import choose


def told(*verdicts, metric="accuracy"):
    """The figure of problems, each of which was asked under as many seeds as it has verdicts."""
    records = [
        Record(0, seed, f"p{i}", "1", "1", right, None, None, "done", "", {}, {"tokens": 5 + seed}, ())
        for i, problem in enumerate(verdicts)
        for seed, right in enumerate(problem)
    ]
    (found,) = [score for score in scores([choose("gsm8k")], records) if score.metric == metric]
    return found


def test_problems_that_are_all_alike_have_no_interval():
    """They do not differ, so how others would cannot be told; an interval without width would claim that none does."""
    found = told([True, False], [False, True], [True, False])
    assert (found.value, found.low, found.high, found.interval) == (0.5, None, None, "problems all alike")
    found = told([True, False], [False, True], metric="tokens")
    assert (found.value, found.low, found.high, found.interval) == (5.5, None, None, "problems all alike")


@pytest.mark.parametrize(
    ("verdicts", "interval"),
    [
        (([True], [False], [True]), "Wilson"),
        (([True, True], [True, True]), "Wilson"),
        (([True, False], [True, True], [False, True]), "t over problems"),
    ],
)
def test_what_an_interval_is_found_by_is_said(verdicts, interval):
    found = told(*verdicts)
    assert found.interval == interval
    assert 0 <= found.low < found.high <= 1
    assert found.low <= found.value <= found.high


def test_one_problem_has_no_interval():
    assert told([True, False])[3:] == (None, None, 1, "one problem")
