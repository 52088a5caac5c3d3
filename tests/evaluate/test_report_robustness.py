"""The section on numbers that grow and on wrong digits, on runs of known errors."""

from dataclasses import replace

import pytest

from intact.evaluate.report.sections import robustness
from intact.evaluate.report.sections.base import OmittedError
from support.report_runs import MANIFEST, arm


def of_level(level, verdicts, kinds=(), **task):
    """A run of gsm8k_numbers with one text for each problem."""
    label = f"gsm8k_numbers:level={level}"
    about = MANIFEST["tasks"][0] | {"name": "gsm8k_numbers", "label": label, "parameters": {"level": level, "seed": 0}}
    made = arm([[{"correct": one}] for one in verdicts], f"level {level}")
    records = [
        record._replace(measures=dict(zip(("arithmetic_error", "logical_error"), own, strict=True)))
        for record, own in zip(made.records, kinds or [(0.0, float(not one)) for one in verdicts], strict=True)
    ]
    return replace(made, run=replace(made.run, manifest=MANIFEST | {"tasks": [about | task]}, records=tuple(records)))


def test_levels_are_compared_problem_by_problem_with_their_kinds_of_error():
    low = of_level(1, [True] * 15 + [False] * 5)
    kinds = [(0.0, 0.0)] * 8 + [(1.0, 0.0)] * 7 + [(0.0, 1.0)] * 5
    high = of_level(4, [True] * 8 + [False] * 12, kinds)
    (own,) = robustness.SECTION.make([high, low]).numbers["levels"].values()
    assert [one.level for one in own] == [1, 4]
    assert [one.right.estimate for one in own] == [0.75, 0.4]
    assert own[0].against is None
    assert own[1].against.difference == pytest.approx(-0.35)
    assert (own[1].arithmetic, own[1].logical) == (0.35, 0.25)


def test_other_settings_are_not_compared():
    other = of_level(4, [True] * 20, digits="x")
    other = replace(other, run=replace(other.run, manifest=other.run.manifest | {"seeds": [1]}))
    with pytest.raises(OmittedError):
        robustness.SECTION.make([of_level(1, [True] * 20), other])


def test_wrong_digits_are_counted_from_the_right():
    made = arm([[{"correct": False, "answer": answer}] for answer in ["12344"] * 8 + ["92345"] * 4 + ["1234"] * 4])
    records = tuple(record._replace(right="12345") for record in made.records)
    about = MANIFEST["tasks"][0] | {"label": "made:digits=grouped"}
    made = replace(made, run=replace(made.run, manifest=MANIFEST | {"tasks": [about]}, records=records))
    (found,) = robustness.SECTION.make([made]).numbers["digits"].values()
    assert found.form == "grouped"
    assert (found.wrong, found.other_length) == (16, 0.25)
    assert found.places == pytest.approx([8 / 12, 0, 0, 0, 4 / 12])


def test_few_wrong_numbers_and_one_level_are_not_shown():
    with pytest.raises(OmittedError, match="no run has 10 wrong whole numbers"):
        robustness.SECTION.make([of_level(1, [True] * 20)])
