"""Conformal answer sets: the figures of a published log, and coverage over all orders of problems."""

import json
import math
import random
from fractions import Fraction
from functools import cache
from itertools import combinations

import pytest

from intact._base.errors import ParameterError
from intact.stats.answer_sets import (
    AnswerSets,
    answer_set,
    least_share,
    least_share_of_batch,
    leave_one_out,
    right_share,
    sets_at,
    share_rank,
)


def drawn(rng, problems, samples=6):
    """Draw answers to problems of several difficulties; the right answer is "a"."""
    chances = [rng.choice((0.05, 0.4, 0.9)) for _ in range(problems)]
    answers = [[rng.choice("bcd") if rng.random() > p else "a" for _ in range(samples)] for p in chances]
    return answers, [[answer == "a" for answer in given] for given in answers]


@pytest.mark.parametrize(("level", "covered", "size"), [(0.95, 0.95, 1.21), (0.9, 0.92, 0.99), (0.8, 0.86, 0.88)])
def test_sets_of_a_published_log(data_dir, level, covered, size):
    """100 MATH problems with 8 samples; 86 have all eight right, so that sets are the same for many levels."""
    path = data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    answers = [[str(answer) or None for answer in row["pred"]] for row in rows]
    found = leave_one_out(answers, [row["score"] for row in rows], level)
    assert (found.covered, found.size, found.abstained) == pytest.approx((covered, size, 0))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_sets_hold_a_right_answer_as_often_as_they_say(level):
    rng = random.Random(0)
    for problems in (2, 7, 20, 33):
        assert leave_one_out(*drawn(rng, problems), level).covered >= level


@pytest.mark.parametrize(
    ("level", "runs"), [(0.6, 60), *(pytest.param(level, 400, marks=pytest.mark.slow) for level in (0.6, 0.7))]
)
def test_bounds_of_coverage_and_size_hold_what_other_problems_have(level, runs):
    """Thresholds come from the same 100 problems; the truth is that of many others, by the same threshold."""
    rng = random.Random(2)
    others = drawn(rng, 25 * runs, 16)
    truth = cache(lambda least: sets_at(*others, least))
    covered, sizes = [], []
    for _ in range(runs):
        answers, right = drawn(rng, 100, 16)
        least = least_share([right_share(given, flags) for given, flags in zip(answers, right, strict=True)], level)
        found, real = sets_at(answers, right, least), truth(least)
        low, high = found.covered_bounds(share_rank(100, level))
        covered.append(low <= real.covered <= high)
        low, high = found.size_bounds()
        sizes.append(low <= real.size <= high)
    allowed = 2.75 * (0.95 * 0.05 / runs) ** 0.5
    assert sum(covered) / runs >= 0.95 - allowed
    assert abs(sum(sizes) / runs - 0.95) < allowed


def test_sets_of_one_size_have_no_bounds_of_it():
    assert sets_at([["a", "a"], ["b", "b"]], [[True] * 2] * 2, 1).size_bounds() is None
    assert sets_at([["a"], ["b"]], [[True], [False]], None).abstained == 1


@pytest.mark.parametrize(("level", "holding"), [(0.5, 0.5), (0.8, 0.6), (0.7, 1)])
def test_batches_of_sets_hold_right_answers_as_often_as_they_say(level, holding):
    """Over all choices of three problems to come out of ten."""
    rng = random.Random(1)
    for _ in range(5):
        shares = [right_share(given, flags) for given, flags in zip(*drawn(rng, 10), strict=True)]
        held = []
        for places in combinations(range(10), 3):
            least = least_share_of_batch([shares[i] for i in range(10) if i not in places], 3, holding, level)
            covered = 3 if least is None else sum(shares[i] >= least for i in places)
            held.append(covered >= holding * 3)
        assert sum(held) >= Fraction(str(level)) * len(held)


def test_a_batch_of_one_is_a_problem():
    shares = [Fraction(i, 8) for i in (0, 1, 1, 3, 5, 8, 8, 8, 8)]
    for level in (0.1, 0.5, 0.8, 0.9, 0.95):
        assert least_share_of_batch(shares, 1, 1, level) == least_share(shares, level)


def test_thresholds_by_hand():
    shares = [Fraction(i, 4) for i in (4, 4, 3, 2, 0)]
    assert [least_share(shares, level) for level in (0.3, 0.5, 0.6, 0.8, 0.9)] == [1, 0.75, 0.5, None, None]
    assert least_share([0.7], 0.5) == 0.7


def test_sets_by_hand():
    answers = ["7", "8", None, "8", "7", "9"]
    assert answer_set(answers, Fraction(1, 3)) == ("7", "8")
    assert answer_set(answers, Fraction(1, 6)) == ("7", "8", "9")
    assert answer_set(answers, 0.5) == ()
    assert right_share(answers, [False, True, False, True, False, True]) == Fraction(1, 3)
    assert right_share(answers, [False] * 6) == 0


def test_counts_of_sets_by_hand():
    answers = [["a", "a"], ["a", "b"], ["a", "a"], ["b", "c"]]
    right = [[one == "a" for one in given] for given in answers]
    # shares 1, 1/2, 1, 0; at level 1/2 of 3 others the second: 1/2, 1, 1/2, 1
    assert leave_one_out(answers, right, 0.5) == AnswerSets(0.5, 0.5, 0.5, 0.5, 0, 4, (1, 0, 1, 0))
    found = leave_one_out(answers, right, 0.9)
    assert (found.covered, found.abstained) == (1, 1)
    assert math.isnan(found.size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: right_share([], []), "not empty, got 0 and 0"),
        (lambda: right_share(["a", "a"], [True, False]), "'a' is marked both right and wrong"),
        (lambda: least_share([]), "at least one graded problem"),
        (lambda: least_share([0.5, 1.5]), "got 1.5 for problem 1"),
        (lambda: least_share([0.5], 0), "level must lie between 0 and 1, got 0"),
        (lambda: least_share_of_batch([0.5], 0), "to_come must be at least 1, got 0"),
        (lambda: least_share_of_batch([0.5], 3, 1.2), r"in \(0, 1\], got 1.2"),
        (lambda: answer_set([], 0.5), "at least one sample is needed"),
        (lambda: answer_set(["a"], 0), r"in \(0, 1\], got 0"),
        (lambda: leave_one_out([["a"]], [[True]]), "at least two problems are needed"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
