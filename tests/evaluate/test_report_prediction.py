"""The section of reports on what was not run."""

from pathlib import Path

import pytest

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Paragraph, Table
from intact.evaluate.report.sections.base import Omission
from intact.evaluate.report.sections.prediction import SECTION
from intact.evaluate.results import EvaluationRun, ItemRecord, ItemSample


def arm(texts, seeds=1, method="self_consistency"):
    """Build a run whose problems have these answers; "a" is right, and the first answer is the method's."""
    records = []
    for seed in range(seeds):
        for number, answers in enumerate(texts):
            name = f"p{number}"
            samples = tuple(
                ItemSample(f"{name}/{i}", answer, answer == "a", 5, -1.0, "end") for i, answer in enumerate(answers)
            )
            right = answers[0] == "a" and seed == 0
            chosen = samples[0].answer if samples else "a"
            cost = {"tokens": 5}
            records.append(
                ItemRecord(
                    0, seed, name, "a", chosen, right, 0 if samples else None, None, "end", "", {}, cost, samples, True
                )
            )
    manifest = {"tasks": [{"label": "toy"}], "method": {"name": method, "parameters": {}}}
    return ReportArm("toy run", Path("toy.jsonl"), EvaluationRun(manifest, tuple(records), ()), 0)


def shown(arms):
    """Return the section's blocks."""
    return SECTION.make(arms).blocks


def test_a_sentence_bounds_the_right_answers_among_the_next():
    said = [block.text for block in shown([arm([["a"]] * 24 + [["b"]] * 76)])]
    assert said[0] == (
        "toy run: 24 of 100 are right. 90% sure that between 14 and 35 of the next 100 are right, "
        "and between 2 and 9 of the next 20."
    )
    assert len(said) == 2


def test_one_answer_to_each_problem_counts():
    once = next(iter(shown([arm([["a"]] * 24 + [["b"]] * 76)])))
    assert next(iter(shown([arm([["a"]] * 24 + [["b"]] * 76, seeds=3)]))) == once


def test_few_problems_predict_nothing():
    assert isinstance(SECTION.make([arm([["a"]] * 19)]), Omission)
    assert len(list(shown([arm([["a"]] * 20)]))) == 2


def test_sets_of_answers_by_level():
    """Of 40 problems 24 have all four votes right, 13 one vote in four, 3 none."""
    texts = [["a"] * 4] * 24 + [["b", "b", "b", "a"]] * 13 + [["b", "b", "c", "c"]] * 3
    *_, table, note = shown([arm(texts)])
    assert isinstance(table, Table)
    assert isinstance(note, Paragraph)
    assert [row[1:] for row in table.rows] == [
        ["50%", "100.0%", "60.0%", "0.60", "60.0%", "40.0%"],
        ["70%", "25.0%", "92.5%", "1.40", "60.0%", "0.0%"],
        ["90%", "25.0%", "92.5%", "1.40", "60.0%", "0.0%"],
    ]
    texts = texts[:32] + [["b", "b", "c", "c"]] * 8
    *_, table, _ = shown([arm(texts)])
    assert table.rows[2][1:3] == ["90%", "no sampled answers will do: abstain"]


@pytest.mark.parametrize("answers", [["a", "b", "c", "d"], ["b", "c", "d", "a"]])
def test_answers_that_never_repeat_have_no_sets(answers):
    assert not any(isinstance(block, Table) for block in shown([arm([answers] * 30)]))
