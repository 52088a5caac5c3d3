"""Sections on regret and on idealised seconds, on runs of known numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from intact.errors import FormatError, ParameterError
from intact.evaluate.report.contents import report
from intact.evaluate.report.machine import A100_175B, IdealMachine
from intact.evaluate.report.sections import regret, runtime
from intact.evaluate.report.sections.base import Omission
from intact.evaluate.results import SampleStep
from support.report_runs import arm


def stepwise(*points, correct):
    """A text with answers at the ends of its steps, as (tokens, answer)."""
    return {
        "correct": correct,
        "tokens": points[-1][0],
        "answer": points[-1][1],
        "steps": tuple(SampleStep(tokens, answer, {}) for tokens, answer in points),
    }


def texts():
    """One text is right from 20 of 40 tokens on, one turns from right to wrong, of one the way was never judged."""
    early = stepwise((10, None), (20, "right"), (40, "right"), correct=True)
    spoilt = stepwise((20, "right"), (80, "wrong 1"), correct=False)
    unknown = stepwise((50, "7"), (100, "right"), correct=True)
    return [[early, spoilt], [unknown, early]] * 6


def test_regret_of_texts_is_the_area_above_their_steps():
    (found,) = regret.SECTION.make([arm(texts())]).numbers.values()
    one = found.texts
    assert one.budget == 100
    assert one.regret.estimate == pytest.approx(np.mean([0.2, 0.4, 1.0, 0.2]))
    assert one.wrong == pytest.approx(0.25)
    assert one.settled == pytest.approx((20 + 100 + 20) / (40 + 100 + 40))
    assert one.unknown == pytest.approx(1 / 10)
    assert one.cuts[-1] == (100.0, 0.75)
    of = dict(one.cuts)
    assert all(right == 0.75 for at, right in of.items() if 20 <= at < 80)
    assert found.because == ""


def test_regret_of_votes_is_that_of_the_curve_over_samples():
    (found,) = regret.SECTION.make([arm(texts())]).numbers.values()
    each = 65  # tokens of a sample on average
    coverage = [np.mean([0.5, 1.0]), 1.0]
    area = each * coverage[0] / 2 + each * (coverage[0] + coverage[1]) / 2 + (140 - 2 * each) * coverage[1]
    assert found.votes.budget == 140
    assert found.votes.coverage.estimate == pytest.approx(1 - area / 140)
    assert found.votes.vote.estimate >= found.votes.coverage.estimate


def test_runs_are_measured_within_one_budget():
    short = arm([[stepwise((1, None), (2, "right"), correct=True)] * 2] * 12, "short")
    found = regret.SECTION.make([short, arm(texts())]).numbers
    assert found["short"].texts.budget == found["made"].texts.budget == 100
    assert found["short"].texts.regret.estimate == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("made", "because"),
    [
        (arm(texts(), independent=False), "its texts are not independent draws"),
        (arm([[{"correct": True}]] * 3), "its texts have one step each"),
        (arm(texts()[:1]), "it has only one problem"),
    ],
)
def test_regret_is_not_shown_without_steps_and_independent_draws(made, because):
    found = regret.SECTION.make([made])
    assert isinstance(found, Omission)
    assert because in found.because


def costed(made, costs):
    """The same run with these costs, one a record."""
    records = tuple(
        record._replace(cost=dict(zip(("prefill", "tokens", "sequential", "operations"), own, strict=True)))
        for record, own in zip(made.records, costs, strict=True)
    )
    return replace(made, run=replace(made.run, records=records))


def test_seconds_are_tokens_over_rates():
    made = costed(arm([[{"correct": True}], [{"correct": False}]]), [(100, 40, 10, 1), (300, 80, 20, 1)])
    timed = replace(made, machine=IdealMachine(100, 10, "as given"))
    (found,) = runtime.SECTION.make([timed]).numbers.values()
    assert found.one_by_one.estimate == pytest.approx((1 + 4 + 3 + 8) / 2)
    assert found.side_by_side.estimate == pytest.approx((1 + 1 + 3 + 2) / 2)
    assert found.per_right == pytest.approx(7)
    assert (found.read, found.written, found.in_a_row) == (200, 60, 15)


def test_the_default_machine_is_the_papers():
    assert A100_175B.seconds(128, 0) + 63 / A100_175B.write == pytest.approx(5.198)


def test_a_run_without_its_costs_is_not_timed():
    assert isinstance(runtime.SECTION.make([arm([[{"correct": True}]] * 2)]), Omission)
    unread = costed(arm([[{"correct": True}]] * 2), [(0, 40, 10, 1)] * 2)
    assert "prompts are not known" in runtime.SECTION.make([unread]).because


def test_a_machine_is_stated_or_measured(tmp_path):
    assert IdealMachine.parse("read=400,write=31.5") == IdealMachine(400, 31.5, "as given")
    figure = {"unit": "tokens/s", "median": 50.0}
    figures = [
        figure | {"group": "prompt", "what": "prompt of 512", "median": 400},
        figure | {"group": "stream", "what": "one stream of 64, greedy, drafting", "median": 99},
        figure | {"group": "stream", "what": "one stream of 64, greedy"},
        figure | {"group": "samples", "what": "8 x 32 after a prompt of 64"},
    ]
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"figures": figures}))
    assert IdealMachine.parse(str(path)) == IdealMachine(400, 50, "measured, bench.json")
    path.write_text(json.dumps({"figures": figures[1:]}))
    with pytest.raises(ParameterError, match="no rates of a prompt and of one stream"):
        IdealMachine.parse(str(path))
    path.write_text("not JSON")
    with pytest.raises(FormatError, match="cannot be read as JSON"):
        IdealMachine.parse(str(path))
    with pytest.raises(FormatError, match=r"absent\.json cannot be read: No such file or directory$") as absent:
        IdealMachine.parse(str(tmp_path / "absent.json"))
    assert str(absent.value).count("cannot be read") == 1


@pytest.mark.parametrize("text", ["fast", "read=10", "read=10,write=x", "read=10,write=0", "read=1,write=2,cost=3"])
def test_what_is_no_machine_is_refused(text):
    with pytest.raises(ParameterError, match=r"a machine is|must be a rate above 0"):
        IdealMachine.parse(text)


def test_a_run_of_one_problem_has_a_report():
    one = costed(arm(texts()[:1]), [(100, 40, 10, 1)])
    document = report({one.path: one.run})
    assert document.omitted["Regret of test-time compute"].startswith("it has only one problem")
    assert document.omitted["Idealised runtime"] == "it has only one problem"
