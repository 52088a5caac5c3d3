"""A profile accounts for all of a workload's time, and leaves no trace in what it measured."""

from dataclasses import replace

import pytest

import intact
from intact import _native
from intact.measure.bench.passage import Passage
from intact.measure.bench.profile import Profile, limits, native_calls, profile, representative
from intact.measure.bench.workloads import GROUPS, mixed, prompt, samples
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf"))


def functions():
    return {name: found for place in (_native, _native.Model) for name, found in vars(place).items()}


@pytest.mark.parametrize("workload", [prompt(40), samples(3, 40, 5), mixed(4, 48, 16, 5)], ids=lambda w: w.group)
def test_steps_draws_and_python_make_up_the_whole(tiny, workload):
    found = profile(tiny, workload, Passage(tiny.tokenizer))
    assert {"step", "draw"} <= set(found.calls)
    assert all(seconds >= 0 for seconds in found.calls.values())
    assert found.calls["step"] > 0
    assert 0 < found.python < found.seconds
    assert found.python + sum(found.calls.values()) == pytest.approx(found.seconds)
    assert {"linear", "attention", "logits"} <= {record.kind for record in found.records}
    assert sum(record.seconds for record in found.records) > 0  # one operation may take less than the clock's tick
    assert all(record.seconds >= 0 for record in found.records)


def test_nothing_stays_patched_or_profiling(tiny):
    before = functions()
    passage = Passage(tiny.tokenizer)
    profile(tiny, prompt(40), passage)
    with native_calls() as calls:
        prompt(8).run(tiny, passage)
        patched = {name for name, found in functions().items() if found is not before[name]}
    assert "step" in patched
    assert not [name for name in patched if name[0] == "_" or isinstance(before[name], type)]
    assert calls
    assert functions() == before
    assert not tiny.executor.profiling


def test_profiling_ends_after_an_error(tiny):
    def fail(model, passage):
        if model.executor.profiling:
            raise ArithmeticError
        return prompt(8).run(model, passage)

    with pytest.raises(ArithmeticError):
        profile(tiny, replace(prompt(8), run=fail), Passage(tiny.tokenizer))
    assert not tiny.executor.profiling


def test_python_is_what_native_calls_leave():
    assert Profile("", 2.0, {"step": 1.25, "draw": 0.25}, []).python == 0.5


def test_each_group_that_runs_the_model_is_represented_by_its_last():
    everything = [workload for group in GROUPS.values() for workload in group]
    assert representative(everything) == [GROUPS[group][-1] for group in ("prompt", "stream", "samples", "mixed")]
    assert representative(GROUPS["forks"]) == []


def test_limits_are_measured_with_the_models_own_threads(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr("intact.measure.bench.profile.measure_limits", lambda *settings: asked.append(settings))
    limits(tiny)
    assert asked == [(tiny.info()["tier"], tiny.info()["threads"])]
