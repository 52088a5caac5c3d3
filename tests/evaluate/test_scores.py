"""The figures that a run ends with: which have an interval, by what, and why others have none."""

import pytest

from intact._base.exact import significant
from intact.evaluate.results import ItemRecord, ItemSample
from intact.evaluate.scores import check, scores
from intact.stats.intervals import clustered
from intact.tasks.choose import choose


def recorded(*verdicts):
    """Records of problems, each of which was asked under as many seeds as it has verdicts."""
    return [
        ItemRecord(0, seed, f"p{i}", "1", "1", right, None, None, "done", "", {}, {"tokens": 5 + seed}, ())
        for i, problem in enumerate(verdicts)
        for seed, right in enumerate(problem)
    ]


def told(*verdicts, metric="accuracy"):
    """The figure of such problems."""
    (found,) = [score for score in scores([choose("gsm8k")], recorded(*verdicts)) if score.metric == metric]
    return found


def test_samples_have_curves_of_coverage_and_of_majorities():
    """A majority of one text is that text, whose share pass@1 is."""
    samples = [ItemSample(f"p/{i}", str(i % 2), i % 2 == 0, 3, -1.0, "end", {}) for i in range(5)]
    records = [
        ItemRecord(0, 0, "p", "0", "0", True, 0, None, "done", "", {}, {"tokens": 15}, tuple(samples)),
    ]
    metrics = [score.metric for score in scores([choose("gsm8k")], records)]
    assert [name for name in metrics if "@" in name] == [
        "pass@1", "pass@2", "pass@4", "pass@5", "majority@2", "majority@4", "majority@5",
    ]  # fmt: skip


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


RECORDS = [
    ItemRecord(0, 0, f"p{i}", "1", "1", i != 1, None, None, "done", "", {}, {"tokens": 5 + i}, ()) for i in range(3)
]


@pytest.mark.parametrize("name", ["value", "low", "high"])
@pytest.mark.parametrize("metric", ["accuracy", "tokens"])
def test_stated_figures_are_those_of_the_records(name, metric):
    """In files of version 1 a part in a million may differ, as a library's sums did; else nothing may."""
    stated = list(scores([choose("gsm8k")], RECORDS))
    check(stated, RECORDS)
    place = next(i for i, score in enumerate(stated) if score.metric == metric)
    for nearly, off in ((False, 1e-9), (False, 1e-5), (True, 1e-5), (True, -1e-5), (True, 0.09)):
        lie = stated[place]._replace(**{name: getattr(stated[place], name) * (1 + off)})
        with pytest.raises(ValueError, match=f"{metric} of task 0 does not follow from the records"):
            check([*stated[:place], lie, *stated[place + 1 :]], RECORDS, nearly=nearly)
    near = stated[place]._replace(**{name: getattr(stated[place], name) * (1 + 1e-7)})
    check([*stated[:place], near, *stated[place + 1 :]], RECORDS, nearly=True)


def test_one_problem_has_no_interval():
    assert told([True, False])[3:] == (None, None, 1, "one problem")


MIXED = [True, False], [True, True], [False, True]


def test_figures_have_ten_significant_digits():
    """By hand, with SciPy's quantiles: 0.689547701635619 and 0.8186490196758563 are the bounds of the second."""
    found = told(*MIXED)
    assert (found.value, found.low, found.high) == (0.6666666667, 0.0, 1.0)
    found = told(*[[True, False]] * 30, *[[True, True]] * 31)
    assert (found.value, found.low, found.high) == (0.7540983607, 0.6895477016, 0.8186490197)


def test_scores_are_what_the_records_come_to_and_nothing_near_it():
    records = recorded(*MIXED)
    right = [score for score in scores([choose("gsm8k")], records) if score.metric == "accuracy"]
    check(right, records)
    for name in ("value", "high"):
        off = [score._replace(**{name: getattr(score, name) * (1 + 1e-9)}) for score in right]
        check(off, records, nearly=True)
        with pytest.raises(ValueError, match="does not follow from the records"):
            check(off, records)
        with pytest.raises(ValueError, match="does not follow from the records"):
            check([score._replace(**{name: getattr(score, name) * 1.00001}) for score in right], records, nearly=True)


def test_tokens_are_never_below_0_and_files_that_said_so_are_read():
    records = [RECORDS[i]._replace(cost={"tokens": tokens}) for i, tokens in enumerate((1, 900, 3))]
    (found,) = [score for score in scores([choose("gsm8k")], records) if score.metric == "tokens"]
    plain = clustered([1.0, 900.0, 3.0], "abc")
    assert (found.low, found.high) == (0.0, significant(plain.high, 10))
    check([found], records)
    before = significant(plain.low, 10)
    assert before < -900
    check([found._replace(low=before)], records)
    with pytest.raises(ValueError, match="tokens of task 0 does not follow"):
        check([found._replace(low=before - 1)], records)
