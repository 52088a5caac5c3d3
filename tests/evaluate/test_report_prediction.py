"""The section of reports on what was not run."""

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Paragraph, ReportDocument, Section, Table
from intact.evaluate.report.contents import as_list
from intact.evaluate.report.sections.base import OmittedError
from intact.evaluate.report.sections.prediction import SECTION
from intact.evaluate.results import EvaluationRun, ItemRecord, ItemSample
from intact.stats.batches import at_most_wrong, predict_mean


def arm(texts, seeds=1, method="self_consistency", confidences=None):
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
                    0, seed, name, "a", chosen, right, 0 if samples else None,
                    None if confidences is None else confidences[number], "end", "", {}, cost, samples, True,
                )
            )  # fmt: skip
    manifest = {"tasks": [{"label": "toy"}], "method": {"name": method, "parameters": {}}}
    return ReportArm("toy run", Path("toy.jsonl"), EvaluationRun(manifest, tuple(records), ()), 0)


def shown(arms):
    """Return the section's blocks."""
    return SECTION.make(arms).blocks


def numbers(*arguments, **options):
    """Return the numbers of a run alone."""
    (found,) = SECTION.make([arm(*arguments, **options)]).numbers.values()
    return found


def rows(arms, column):
    """Return the rows of the table that has a column."""
    (table,) = (block for block in shown(arms) if isinstance(block, Table) and column in block.head)
    return [row[1:] for row in table.rows]


def test_a_sentence_bounds_the_right_answers_among_the_next():
    said = [block.text for block in shown([arm([["a"]] * 24 + [["b"]] * 76)])]
    assert said[0] == (
        "toy run: 24 of 100 are right. 90% sure that between 14 and 35 of the next 100 are right, "
        "and between 2 and 9 of the next 20."
    )
    assert numbers([["a"]] * 24 + [["b"]] * 76).counts == {100: (14, 35), 20: (2, 9)}


def test_one_answer_to_each_problem_counts():
    once = next(iter(shown([arm([["a"]] * 24 + [["b"]] * 76)])))
    assert next(iter(shown([arm([["a"]] * 24 + [["b"]] * 76, seeds=3)]))) == once


def test_few_problems_predict_nothing():
    with pytest.raises(OmittedError, match="it has graded answers to 19 problems, but 20 are needed"):
        SECTION.make([arm([["a"]] * 19)])
    assert numbers([["a"]] * 20).right == 20


def test_what_a_run_cannot_carry_is_said_with_the_reason():
    because = numbers([["a"]] * 30).because
    assert list(because) == ["shares of right samples", "answers that may be given", "sets of answers"]
    said = [block.text for block in shown([arm([["a"]] * 30)]) if isinstance(block, Paragraph)]
    for part, reason in because.items():
        assert f"toy run: {part} are not shown, because {reason}." in said


def test_sets_of_answers_by_level():
    """Of 40 problems 24 have all four votes right, 13 one vote in four, 3 none."""
    texts = [["a"] * 4] * 24 + [["b", "b", "b", "a"]] * 13 + [["b", "b", "c", "c"]] * 3
    assert rows([arm(texts)], "votes needed") == [
        ["one more problem, 50%", "100.0%", "60.0% (37.5% to 73.7%)", "0.60 (0.44 to 0.76)", "60.0%", "40.0%"],
        ["one more problem, 70%", "25.0%", "92.5% (57.2% to 97.4%)", "1.40 (1.24 to 1.56)", "60.0%", "0.0%"],
        ["one more problem, 90%", "25.0%", "92.5% (80.1% to 97.4%)", "1.40 (1.24 to 1.56)", "60.0%", "0.0%"],
        ["80 of the next 100, 90%", "25.0%", "92.5% (76.9% to 97.4%)", "1.40 (1.24 to 1.56)", "60.0%", "0.0%"],
        ["90 of the next 100, 90%", "no sampled answers will do: abstain", "", "", "", ""],
        ["95 of the next 100, 90%", "no sampled answers will do: abstain", "", "", "", ""],
    ]
    assert [one.votes for one in numbers(texts).sets] == [1, 0.25, 0.25, 0.25, None, None]
    texts = texts[:32] + [["b", "b", "c", "c"]] * 8
    assert rows([arm(texts)], "votes needed")[2][:2] == ["one more problem, 90%", "no sampled answers will do: abstain"]


def test_sets_of_one_size_have_no_interval_of_their_size():
    texts = [["a"] * 4] * 38 + [["b"] * 4] * 2
    found = numbers(texts).sets[0]
    assert found.size.estimate == 1
    assert math.isnan(found.size.low)
    assert rows([arm(texts)], "votes needed")[0][3] == "1.00"


@pytest.mark.parametrize("answers", [["a", "b", "c", "d"], ["b", "c", "d", "a"]])
def test_answers_that_never_repeat_have_no_sets(answers):
    found = numbers([answers] * 30)
    assert not found.sets
    assert "seldom repeat" in found.because["sets of answers"]


def test_shares_of_right_samples_of_the_next_problems():
    texts = [["a"] * 4] * 24 + [["b", "b", "b", "a"]] * 13 + [["b", "b", "c", "c"]] * 3
    shares = [Fraction(1)] * 24 + [Fraction(1, 4)] * 13 + [Fraction(0)] * 3
    low, high = predict_mean(shares, 100)
    assert numbers(texts).share == (float(sum(shares) / 40), float(low), float(high))
    assert rows([arm(texts)], "right samples") == [["68.1%", f"{float(low):.1%} to {float(high):.1%}"]]


def test_how_sure_answers_must_be_that_few_are_wrong():
    """Answers of confidence 0.9 are right, half of those of 0.5 are."""
    texts, confidences = [["a"]] * 80 + [["b"]] * 20, [0.9] * 60 + [0.5] * 40
    found = numbers(texts, confidences=confidences)
    right = [text == ["a"] for text in texts]
    assert [one.above for one in found.safe] == [at_most_wrong(confidences, right, 100, wrong) for wrong in (5, 10, 20)]
    assert rows([arm(texts, confidences=confidences)], "wrong here") == [
        ["5", "0.500", "60.0% (50.2% to 69.1%)", "0 of 60"],
        ["10", "0.500", "60.0% (50.2% to 69.1%)", "0 of 60"],
        ["20", "0.500", "60.0% (50.2% to 69.1%)", "0 of 60"],
    ]
    always, never = ([["a"]] * 100, [0.9] * 100), ([["b"]] * 100, [0.9] * 100)
    assert rows([arm(always[0], confidences=always[1])], "wrong here")[0][1:] == [
        "answer everything", "100.0% (96.3% to 100.0%)", "0 of 100",
    ]  # fmt: skip
    assert rows([arm(never[0], confidences=never[1])], "wrong here")[0][1] == "0.900"


def test_a_problem_without_an_answer_has_no_wrong_one():
    """Half the problems get no answer, and half a wrong one: 50 wrong answers to the next 100 are too many."""
    silent = SECTION.make([arm([[None]] * 50 + [["a"]] * 50, confidences=[None] * 50 + [0.9] * 50)])
    (found,) = silent.numbers.values()
    assert [one.above for one in found.safe] == [-math.inf] * 3
    assert found.safe[0].given.estimate == 0.5
    assert found.right == 50
    wrong = numbers([[None]] * 50 + [["b"]] * 50, confidences=[None] * 50 + [0.9] * 50)
    assert [one.above for one in wrong.safe] == [0.9] * 3


def test_no_promise_is_made_from_too_few_problems():
    found = numbers([["a"]] * 20, confidences=[0.9] * 20)
    assert [one.above for one in found.safe] == [at_most_wrong([0.9] * 20, [True] * 20, 100, w) for w in (5, 10, 20)]
    assert rows([arm([["b"]] * 20, confidences=[0.9] * 20)], "wrong here")[0][1] == "answer nothing"


def test_numbers_are_plain_json():
    body = SECTION.make([arm([["a"] * 4] * 24 + [["b", "b", "b", "a"]] * 16, confidences=[0.5] * 40)])
    (section,) = as_list(ReportDocument("", [Section("", body.blocks, (), body.numbers)]))
    (run,) = json.loads(json.dumps(section["numbers"], allow_nan=False)).values()
    assert run["counts"]["100"].keys() == {"low", "high"}
    assert run["sets"][0]["covered"].keys() == {"estimate", "low", "high"}
    assert run["safe"][0]["wrong"] == 5
