"""Tuning: races against the defaults, what is kept for later commands, and that no answer changes."""

import json
import math
import os

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.measure.bench import tuned, tuning
from intact.measure.bench.tuned import Settings, find_settings, forget_settings, load_arguments, save_settings
from intact.measure.bench.tuning import TuneWorkload, compare, ratio_of, tune
from support.tiny import write_tiny

pytest.importorskip("optuna", reason="needs Optuna: pip install '.[tune]'")
SMALL = TuneWorkload(prompt=20, answer=6, samples=2, clients=2)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("INTACT_TUNED", raising=False)
    monkeypatch.delenv("INTACT_THREADS", raising=False)


@pytest.fixture
def path(tmp_path):
    return write_tiny(tmp_path / "tiny.gguf")


def rates(level, noise, seed):
    draw = np.random.default_rng(seed)
    return lambda: level * math.exp(draw.normal(0, noise))


def test_ratios_have_students_interval_of_logarithms():
    found = ratio_of([(2.0, 1.0), (2.2, 1.0), (3.6, 2.0), (2.0, 1.0)])
    logs = np.log([2, 2.2, 1.8, 2])
    half = 3.182446305284263 * logs.std(ddof=1) / 2
    assert found.value == pytest.approx(math.exp(logs.mean()))
    assert (found.low, found.high) == pytest.approx((math.exp(logs.mean() - half), math.exp(logs.mean() + half)))
    assert ratio_of([(1.0, 1.0)]).low == 0


def test_turns_alternate_and_end_when_they_may():
    turns = []
    compare(lambda: turns.append("c") or 2.0, lambda: turns.append("d") or 1.0 + 0.5 * (len(turns) % 3), 4, stop=False)
    assert "".join(turns) == "cd" + "dc" + "cd" + "dc"
    assert compare(rates(0.5, 0.01, 1), rates(1, 0.01, 2), 20).turns == tuning.FEWEST
    assert compare(rates(1.5, 0.001, 1), rates(1, 0.001, 2), 20).turns == tuning.FEWEST
    assert compare(rates(1.1, 0.2, 1), rates(1, 0.2, 2), 20).turns == 20


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(400):
        ratio = compare(rates(1.07, 0.05, 2 * seed), rates(1, 0.08, 2 * seed + 1), 15, stop=False)
        held += ratio.low <= 1.07 <= ratio.high
    assert 0.92 <= held / 400 <= 0.98


class Machine:
    """A machine whose speed is known: settings multiply it."""

    def __init__(self, factors):
        self.factors, self.seed = factors, 0

    def factor(self, settings):
        return math.prod(self.factors.get(value, 1.0) for value in (settings.rows, settings.chunk, settings.drafter))

    def rate(self, settings):
        self.seed += 1
        return rates(100 * self.factor(settings), 0.02, self.seed)


def test_the_search_finds_what_is_fastest(path, monkeypatch):
    machine = Machine({64: 0.7, 128: 0.9, 1024: 1.2, "stand": 1.15, "off": 0.8})
    monkeypatch.setattr(tuning._Bench, "rate", machine.rate)
    found = tune(path, SMALL, trials=40, seed=1)
    assert found.gained
    assert found.ratio.value == pytest.approx(machine.factor(found.best), rel=0.02)
    assert found.ratio.low > 1.3
    assert found.ratio.turns == tuning.FINAL_TURNS


def test_the_time_bounds_candidates_and_the_turns_of_the_best(path, monkeypatch):
    now = [0.0]
    machine = Machine({1024: 1.3})

    def rate(settings):
        own = machine.rate(settings)

        def run():
            now[0] += 1
            return own()

        return run

    monkeypatch.setattr(tuning, "clock", lambda: now[0])
    monkeypatch.setattr(tuning._Bench, "rate", lambda _, settings: rate(settings))
    found = tune(path, SMALL, trials=1000, seconds=100, seed=3)
    assert 75 <= found.seconds <= 106  # a turn that has begun ends, and an interval needs three
    assert tuning.FEWEST <= found.ratio.turns < tuning.FINAL_TURNS


def test_nothing_is_gained_where_all_are_alike(path, monkeypatch):
    gained = 0
    for seed in range(12):
        machine = Machine({})
        machine.seed = 1000 * seed
        monkeypatch.setattr(tuning._Bench, "rate", machine.rate)
        gained += tune(path, SMALL, trials=10, seed=seed).gained
    assert gained <= 2  # 2.5% each


def test_a_real_model_is_tuned_and_its_answers_stay(path):
    expected = intact.load(path).generate("some text", max_tokens=12, temperature=1.0, n=3)
    seen = []
    found = tune(path, SMALL, trials=4, report=lambda number, trial: seen.append(trial))
    assert tuple(seen) == found.trials
    assert json.loads(json.dumps(found.to_document()))["workload"]["samples"] == 2
    for trial in found.trials:
        save_settings(path, trial.settings, found.to_record())
        model = fetch.load(str(path), "int8", None)
        assert model.engine.scheduler.rows == trial.settings.rows
        assert model.info()["threads"] == trial.settings.threads
        assert model.generate("some text", max_tokens=12, temperature=1.0, n=3) == expected
    assert fetch.load(str(path), "int8", 2).info()["threads"] == 2


def test_an_option_goes_before_what_was_found(path):
    save_settings(path, Settings(1, 64, 32, "off"), {})
    assert fetch.load(str(path), "int8", None).engine.scheduler.rows == 64
    assert fetch.load(str(path), "int8", None, rows=96).engine.scheduler.rows == 96


def test_what_is_kept_is_for_this_machine_and_this_file(path, tmp_path, monkeypatch):
    assert find_settings(path) is None
    own, other = Settings(1, 64, 32, "off"), write_tiny(tmp_path / "other.gguf")
    file = save_settings(path, own, {"ratio": 2})
    save_settings(other, Settings(2, 128, 64, "auto"), {})
    assert find_settings(path) == own
    assert load_arguments(path) == {"threads": 1, "rows": 64, "chunk": 32, "drafter": "off"}
    assert load_arguments(path, threads=4, drafter="auto") == {"threads": 4, "rows": 64, "chunk": 32, "drafter": "auto"}
    assert load_arguments(path, draft_model=other) == {"threads": 1, "rows": 64, "chunk": 32, "draft_model": other}
    monkeypatch.setenv("INTACT_THREADS", "2")
    assert load_arguments(path) == {"rows": 64, "chunk": 32, "drafter": "off"}
    monkeypatch.setenv("INTACT_TUNED", "off")
    assert find_settings(path) is None
    assert load_arguments(path, threads=3, drafter="off") == {"threads": 3, "drafter": "off"}
    monkeypatch.delenv("INTACT_TUNED")
    changed = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(changed, changed))  # as after writing other weights of the same size
    assert find_settings(path) is None
    assert forget_settings(path), "what was found for the file as it was is still known by its path"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_settings(folder, own, {})
    assert find_settings(folder) == own
    (folder / "model.safetensors").write_bytes(b"new")
    assert find_settings(folder) is None
    assert forget_settings(other)
    assert not forget_settings(other)
    assert find_settings(other) is None
    save_settings(path, own, {})
    monkeypatch.setattr(tuned, "machine", lambda: {"processor": "another", "processors": 2})
    assert find_settings(path) is None
    file.write_text("{")
    with pytest.raises(ParameterError, match=r"tuned\.json \(delete it, or run intact tune again\)"):
        find_settings(path)


def test_a_workload_must_fit(path):
    with pytest.raises(
        ParameterError, match="a prompt of 500 tokens and an answer of 64 tokens exceed the context of 512"
    ):
        tune(path, TuneWorkload(prompt=500))
