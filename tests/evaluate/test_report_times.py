"""Sections on regret and on idealised seconds, on runs of known numbers."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from intact._base.errors import FormatError, ParameterError
from intact.evaluate.report.contents import report
from intact.evaluate.report.machine import A100, DEFAULT, IdealMachine, MachineChoice, ModelRuntime, TokenWork
from intact.evaluate.report.sections import regret, runtime
from intact.evaluate.report.sections.base import OmittedError
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
        (arm([[{"correct": True}]] * 3), "each of its texts has only one step"),
        (arm(texts()[:1]), "it has only one problem"),
    ],
)
def test_regret_is_not_shown_without_steps_and_independent_draws(made, because):
    with pytest.raises(OmittedError, match=re.escape(because)):
        regret.SECTION.make([made])


def costed(made, costs):
    """The same run with these costs, one a record."""
    records = tuple(
        record._replace(cost=dict(zip(("prefill", "tokens", "sequential", "operations"), own, strict=True)))
        for record, own in zip(made.records, costs, strict=True)
    )
    return replace(made, run=replace(made.run, records=records))


def of_model(made, weights, bits=8):
    """The same run by a model of so many weights: each token takes a multiply-add for each."""
    records = tuple(
        one._replace(cost=one.cost | {"operations": weights * (one.cost["prefill"] + one.cost["tokens"])})
        for one in made.run.records
    )
    manifest = made.run.manifest | {"models": [{"name": f"{weights}.gguf", "weights": f"{weights}", "bits": bits}]}
    return replace(made, run=replace(made.run, records=records, manifest=manifest))


RATES = ModelRuntime(((1, 0.1), (101, 1.1), (201, 3.1)), 0.1, 0.0, 2, 36.0, "as given")


def test_seconds_are_those_of_a_prompt_and_of_a_step_for_each_token_after_the_first():
    made = costed(arm([[{"correct": True}], [{"correct": False}]]), [(51, 41, 11, 1), (301, 81, 21, 1)])
    (found,) = runtime.SECTION.make([replace(made, machine=RATES)]).numbers.values()
    assert found.one_by_one.estimate == pytest.approx((0.6 + 4 + 5.1 + 8) / 2)
    assert found.side_by_side.estimate == pytest.approx((0.6 + 1 + 5.1 + 2) / 2)
    assert found.machine_seconds == pytest.approx(8.7)
    assert found.per_right == pytest.approx(17.4)
    assert found.dollars == pytest.approx(8.7 / 100)
    assert (found.read, found.written, found.in_a_row) == (176, 61, 16)


def test_a_larger_model_takes_longer_for_the_same_tokens():
    costs = [(100, 400, 40, 1), (300, 800, 80, 1)]
    small, large = (
        of_model(costed(arm([[{"correct": True}], [{"correct": False}]], name), costs), weights)
        for name, weights in (("small", 500_000_000), ("large", 70_000_000_000))
    )
    found = runtime.SECTION.make([small, large]).numbers
    assert found["large"].one_by_one.estimate == pytest.approx(140 * found["small"].one_by_one.estimate)
    assert (found["small"].machines, found["large"].machines) == (1, 1)
    halves = of_model(large, 140_000_000_000)
    (twice,) = runtime.SECTION.make([halves]).numbers.values()
    assert twice.machines == 2
    assert twice.one_by_one.estimate == pytest.approx(found["large"].one_by_one.estimate)
    assert twice.machine_seconds == pytest.approx(2 * found["large"].machine_seconds)


def test_work_of_a_token_is_the_runs_own():
    made = of_model(costed(arm([[{"correct": True}]] * 2), [(10, 10, 10, 1), (10, 30, 30, 1)]), 1000, bits=4)
    records = list(made.run.records)
    records[1] = records[1]._replace(cost=records[1].cost | {"operations": 44_000})  # attention over a longer context
    made = replace(made, run=replace(made.run, records=tuple(records)))
    assert runtime.token_work(made) == TokenWork(64_000 / 60, 500)


@pytest.mark.parametrize(
    ("layers", "width", "cards", "prompt", "step"),
    [
        (32, 4096, 1, 0.167, 0.024),
        (50, 5120, 1, 0.38, 0.038),
        (96, 12288, 8, 0.597, 0.081),
        (70, 14336, 8, 0.669, 0.061),
    ],
)
def test_the_default_machine_is_near_what_the_paper_measured(layers, width, cards, prompt, step):
    """Models of the paper by their matrices, in 16 bits: a prompt of 1,920 tokens and a step."""
    weights = 12 * layers * width**2
    found = A100.runtime(TokenWork(weights, 2 * weights))
    assert found.machines == cards
    assert found.read(1920) == pytest.approx(prompt, rel=0.2)
    assert found.step == pytest.approx(step, rel=0.3)


def test_a_step_of_many_texts_takes_the_longer_of_weights_and_products():
    found = IdealMachine(1000, 10).runtime(TokenWork(100, 10))
    assert [found.read(tokens) for tokens in (1, 10, 20, 50)] == pytest.approx([1, 1, 2, 5])
    assert found.seconds(10, 5, 5) == pytest.approx(1 + 4)
    assert found.seconds(10, 5, 100) == pytest.approx(1 + 4 * 2)


def test_a_run_without_its_costs_is_not_timed():
    with pytest.raises(OmittedError):
        runtime.SECTION.make([arm([[{"correct": True}]] * 2)])
    unread = costed(arm([[{"correct": True}]] * 2), [(0, 40, 10, 1)] * 2)
    with pytest.raises(OmittedError, match="the numbers of prompt tokens are unknown"):
        runtime.SECTION.make([unread])
    endpoint = costed(arm([[{"correct": True}]] * 2), [(10, 40, 10, 0)] * 2)
    with pytest.raises(OmittedError, match="operations of its model are not counted"):
        runtime.SECTION.make([endpoint])
    with pytest.raises(OmittedError, match="no --machine is for its model"):
        runtime.SECTION.make([replace(endpoint, machine=None)])


def bench(path, model="small.gguf", least=0):
    """A file of intact bench."""
    figure = {"unit": "tokens/s", "median": 50.0}
    figures = [
        figure | {"group": "prompt", "what": "prompt of 128", "median": 320},
        figure | {"group": "prompt", "what": "prompt of 512", "median": 400},
        figure | {"group": "stream", "what": "one stream of 64, greedy, drafting", "median": 99},
        figure | {"group": "stream", "what": "one stream of 64, greedy"},
        figure | {"group": "samples", "what": "8 x 32 after a prompt of 64"},
    ]
    path.write_text(json.dumps({"model": model, "figures": figures[least:]}))
    return path


def test_rates_are_stated_or_measured(tmp_path):
    assert MachineChoice.parse([]) == DEFAULT
    (given,) = MachineChoice.parse(["read=400,write=20"]).stated
    assert given.runtime.seconds(800, 41) == pytest.approx(2 + 2)
    assert MachineChoice.parse(["gmacs_per_s=100,gb_per_s=20,memory_gb=8,price=2"]).machine == IdealMachine(
        1e11, 2e10, 8e9, 2, "the rates given"
    )
    (found,) = MachineChoice.parse([str(bench(tmp_path / "bench.json"))]).stated
    assert (found.model, found.named) == ("small.gguf", False)
    assert found.runtime.prompts == ((1, 0.02), (128, 0.4), (512, 1.28))
    assert found.runtime.read(256) == pytest.approx(0.4 + 0.88 / 3)
    with pytest.raises(ParameterError, match="no rates of a prompt and of one stream"):
        MachineChoice.parse([str(bench(tmp_path / "bench.json", least=2))])
    (tmp_path / "bench.json").write_text("not JSON")
    with pytest.raises(FormatError, match="is not valid JSON"):
        MachineChoice.parse([str(tmp_path / "bench.json")])
    with pytest.raises(FormatError, match=r"absent\.json cannot be read: No such file or directory$") as absent:
        MachineChoice.parse([str(tmp_path / "absent.json")])
    assert str(absent.value).count("cannot be read") == 1


def test_each_model_has_its_own_rates(tmp_path):
    measured = str(bench(tmp_path / "bench.json"))
    choice = MachineChoice.parse([measured, "large=read=10,write=1,machines=4"])
    assert choice.of("models/large.gguf", False).machines == 4
    assert choice.of("small.gguf", False).step == 0.02
    assert choice.of("other.gguf", False) is None
    assert MachineChoice.parse([measured]).of("other.gguf", True).step == 0.02  # all runs are of one model
    assert MachineChoice.parse([measured]).of("other.gguf", False) is None
    with pytest.raises(ParameterError, match="rates of one model, but the runs are of several"):
        MachineChoice.parse(["read=400,write=20"]).of("other.gguf", False)
    with pytest.raises(ParameterError, match="two runtimes for the model large"):
        MachineChoice.parse(["large=read=10,write=1", "large=read=10,write=1"])
    with pytest.raises(ParameterError, match="each --machine must name its model"):
        MachineChoice.parse(["large=read=10,write=1", "read=10,write=1"])
    machine = "gmacs_per_s=1,gb_per_s=1"
    with pytest.raises(ParameterError, match="two machines"):
        MachineChoice.parse([machine, machine])


def test_runs_of_several_models_refuse_the_rates_of_one():
    small, large = (costed(arm([[{"correct": True}]] * 2, name), [(1, 1, 1, 1)] * 2) for name in ("small", "large"))
    manifest = large.run.manifest | {"models": [{"name": "large.gguf", "weights": "other", "bits": 8}]}
    runs = {small.path: small.run, large.path: replace(large.run, manifest=manifest)}
    with pytest.raises(ParameterError, match="rates of one model, but the runs are of several"):
        report(runs, machines=MachineChoice.parse(["read=400,write=20"]))


@pytest.mark.parametrize(
    "text",
    ["fast", "read=10", "read=10,write=x", "read=10,write=0", "read=1,write=2,cost=3", "gmacs_per_s=1",
     "read=1,write=2,machines=1.5", "large=gmacs_per_s=1,gb_per_s=1"],
)  # fmt: skip
def test_what_is_no_machine_is_refused(text):
    with pytest.raises(ParameterError, match=r"a machine must be|must be positive"):
        MachineChoice.parse([text])


def test_a_run_of_one_problem_has_a_report():
    one = of_model(costed(arm(texts()[:1]), [(100, 40, 10, 1)]), 1000)
    document = report({one.path: one.run})
    assert document.omitted["Regret of test-time compute"].startswith("it has only one problem")
    assert document.omitted["Idealised runtime"] == "it has only one problem"
