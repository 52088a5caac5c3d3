"""First guesses from records: the rule by hand, and records of known truth, where a guess helps and where none can."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.evaluate.sweep.guess import (
    chosen_settings,
    guess_as_dict,
    rank_settings,
    read_guess,
    similarity,
    worth_of,
    write_guess,
)
from intact.evaluate.sweep.records import (
    RecordFeatures,
    SettingGain,
    SettingRecord,
    answers_of,
    read_records,
    size_of,
)
from intact.evaluate.sweep.space import SweepTrial, parse_trial

TRIALS = [
    parse_trial(f"{method}:n={n}") for method in ("self_consistency", "adaptive_consistency") for n in (2, 4, 6, 8, 10)
]
BASELINE = parse_trial("self_consistency:n=16")
NOWHERE = RecordFeatures()


def simulated(rng: random.Random, effects: list[float], between: float, features: RecordFeatures, name: str):
    """A record whose gains are effects, what is the record's own, and the chance of 200 problems (1 in 5 differ)."""
    gains = {
        trial.key: SettingGain(trial, effect + rng.gauss(0, between) + rng.gauss(0, (0.2 / 200) ** 0.5), 200)
        for trial, effect in zip(TRIALS, effects, strict=True)
    }
    return SettingRecord(name, features, gains)


def worlds(seed: int, spread: float, between: float, count: int = 8):
    """Records of one world: effects of settings that all share, and deviations of each record."""
    rng = random.Random(seed)
    effects = [rng.gauss(-0.02, spread) for _ in TRIALS]
    return effects, [simulated(rng, effects, between, NOWHERE, f"r{i}") for i in range(count)]


def test_predictions_are_the_stated_means():
    one, other = TRIALS[:2]
    near, far = RecordFeatures(1e9, 0.5, "Numeric"), RecordFeatures(4e9, 0.7, "Choice")
    records = [
        SettingRecord("a", near, {one.key: SettingGain(one, 0.1, 80), other.key: SettingGain(other, 0.02, 240)}),
        SettingRecord("b", far, {one.key: SettingGain(one, -0.1, 240)}),
    ]
    assert similarity(near, far) == pytest.approx(0.5 * 0.5 * 0.5)
    assert similarity(near, NOWHERE) == similarity(near, near) == 1
    first, second = rank_settings(records, near)
    assert (first.trial, first.records, second.trial, second.records) == (one, 2, other, 1)
    assert first.gain == pytest.approx((0.5 * 0.1 - 0.75 / 8 * 0.1) / (0.5 + 0.75 / 8 + 1))
    assert second.gain == pytest.approx(0.75 * 0.02 / 1.75)
    assert rank_settings(records[::-1], near) == rank_settings(records, near)


def test_few_records_are_shrunk_towards_the_baseline_and_many_are_not():
    (trial, *_) = TRIALS
    record = SettingRecord("a", NOWHERE, {trial.key: SettingGain(trial, 0.1, 10**6)})
    gains = [rank_settings([record] * n, NOWHERE)[0].gain for n in (1, 3, 99)]
    assert gains == pytest.approx([0.05, 0.075, 0.099], rel=1e-3)


def test_where_settings_are_alike_everywhere_guesses_help_and_the_report_says_so():
    regrets, shown, found = [], 0, []
    for seed in range(60):
        effects, records = worlds(seed, spread=0.06, between=0.01)
        worth = worth_of(records)
        shown += worth.helps
        regrets.append((worth.guess, worth.default))
        best = chosen_settings(rank_settings(records, NOWHERE), 1, None)
        found.append(max(0.0, *effects) - (effects[TRIALS.index(best[0].trial)] if best else 0.0))
    means = [sum(own) / 60 for own in zip(*regrets, strict=True)]
    assert means[0] < means[1] / 2, "guessed from seven others, a record loses less than half of the baseline's regret"
    assert shown > 42
    assert sum(found) / 60 < 0.01, "on a task that no record is of, the truth of the first guess is near the best"


def test_where_nothing_carries_over_the_report_seldom_says_that_guesses_help():
    shown, gained = 0, 0.0
    for seed in range(200):
        rng = random.Random(seed)
        # every setting of every record is as good as the baseline but for the record's own deviation
        records = [simulated(rng, [0.0] * len(TRIALS), 0.06, NOWHERE, f"r{i}") for i in range(8)]
        worth = worth_of(records)
        shown += worth.helps
        gained += worth.advantage
    assert shown <= 16, "one world in twenty, but for chance in 200 of them"
    assert abs(gained / 200) < 0.005


def test_records_of_models_of_another_size_count_less():
    rng = random.Random(0)
    effects = [0.08, *[-0.05] * 8, -0.08]
    small = [simulated(rng, effects, 0.01, RecordFeatures(1.35e8), f"small{i}") for i in range(4)]
    large = [simulated(rng, effects[::-1], 0.01, RecordFeatures(3.5e10), f"large{i}") for i in range(4)]
    records = small + large
    assert rank_settings(records, RecordFeatures(3e8))[0].trial == TRIALS[0]
    assert rank_settings(records, RecordFeatures(7e9))[0].trial == TRIALS[-1]
    worth = worth_of(records)
    assert worth.guess < 0.03 < worth.average, "the best average setting is that of half of the records"


def test_the_baselines_accuracy_counts_when_it_is_known_to_the_guess():
    rng = random.Random(1)
    effects = [0.08, *[-0.05] * 8, -0.08]
    weak = [simulated(rng, effects, 0.01, RecordFeatures(None, 0.1), f"weak{i}") for i in range(4)]
    strong = [simulated(rng, effects[::-1], 0.01, RecordFeatures(None, 0.9), f"strong{i}") for i in range(4)]
    assert worth_of(weak + strong, accuracy=True).guess < 0.03 < worth_of(weak + strong).guess


@pytest.mark.parametrize("seed", range(4))
def test_the_worth_is_that_of_guesses_made_one_by_one(seed):
    """Written again from the definitions, with settings that not every record has."""
    rng = random.Random(seed)
    kinds = ("Numeric", "Choice")
    about = [RecordFeatures(10 ** rng.uniform(8, 10), rng.random(), rng.choice(kinds)) for _ in range(6)]
    records = [simulated(rng, [0.01] * len(TRIALS), 0.05, one, f"r{i}") for i, one in enumerate(about)]
    for record in records:
        for key in rng.sample(sorted(record.gains), 3):
            del record.gains[key]

    def gain(known, record):
        ranked = rank_settings(known, record.features._replace(accuracy=None))
        best = next(one for one in ranked if one.trial.key in record.gains)
        return record.gains[best.trial.key].gain if best.gain > 0 else 0.0

    left_out = [gain(records[:i] + records[i + 1 :], records[i]) for i in range(6)]
    later = [gain(records[:i], records[i]) for i in range(1, 6)]
    signed = [
        sum(s * one for s, one in zip(signs, later, strict=True)) for signs in itertools.product((1, -1), repeat=5)
    ]
    worth = worth_of(records[::-1])
    assert worth.advantage == pytest.approx(sum(left_out) / 6)
    assert worth.default - worth.guess == pytest.approx(worth.advantage)
    share = sum(one >= sum(later) - 1e-12 for one in signed) / 32
    if sum(later) > 0:
        assert worth.p == pytest.approx(share)
    assert (worth.p <= 0.5) == (sum(later) > 0)


def test_fewer_than_three_records_say_nothing_of_their_worth():
    _, records = worlds(0, 0.06, 0.01, count=2)
    assert worth_of(records) is None


def test_records_of_the_baseline_alone_are_worth_nothing():
    worth = worth_of([SettingRecord(name, NOWHERE, {}) for name in "abc"])
    assert worth is not None
    assert (worth.guess, worth.average, worth.default, worth.helps) == (0, 0, 0, False)


def test_a_guess_names_settings_that_gain_and_that_the_task_takes(tmp_path):
    grouped = SweepTrial("self_consistency", {"n": 4}, {}, {"digits": "grouped"})
    truth = ((grouped, 0.3), (TRIALS[0], 0.2), (TRIALS[1], -0.1))
    gains = {trial.key: SettingGain(trial, gain, 500) for trial, gain in truth}
    ranked = rank_settings([SettingRecord("a", NOWHERE, gains)], NOWHERE)
    assert [one.trial for one in ranked] == [grouped, TRIALS[0], TRIALS[1]]
    assert [one.trial for one in chosen_settings(ranked, 8, "gsm8k")] == [grouped, TRIALS[0]]
    assert [one.trial for one in chosen_settings(ranked, 8, "humaneval")] == [TRIALS[0]]
    assert [one.trial for one in chosen_settings(ranked, 1, None)] == [grouped]
    file, source = tmp_path / "guess.json", tmp_path / "sweep.json"
    source.write_text("{}")
    write_guess(file, guess_as_dict(ranked[:2], NOWHERE, None, [source], baseline=BASELINE.label))
    assert read_guess(file) == [grouped, TRIALS[0]]
    value = json.loads(file.read_text())
    assert [one["file"] for one in value["sources"]] == [str(source)]
    value["settings"][0]["method"] = "nobody"
    file.write_text(json.dumps(value))
    with pytest.raises(ParameterError, match="nobody"):
        read_guess(file)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", 1.5e9),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", 135e6),
        ("smollm2_360m", 360e6),
        ("phi3", None),
        ("model-q4b.gguf", None),
        ("http://host/v1", None),
    ],
)
def test_a_model_s_name_states_its_size(name, size):
    assert size_of(name) == size


def test_tasks_that_share_a_reader_have_answers_of_one_kind():
    assert answers_of("gsm8k:split=train") == answers_of("svamp") == "Numeric"
    assert answers_of("arc_easy") == answers_of("folio") != answers_of("humaneval")
    assert answers_of("of_another_package") == ""


def counted(*points):
    return [{"trial": trial, "right": right, "tokens": tokens} for trial, right, tokens in points]


def sweep_file(place: Path, name: str, **changes) -> Path:
    """A sweep of two settings: both asked 8 problems, one of them 24, and that one judged on 100."""
    trials = [{"method": "self_consistency", "parameters": {"n": n}, "sampling": {}, "prompt": {}} for n in (16, 4, 2)]
    rungs = [
        {"problems": 8, "settings": counted((0, 4, 800), (1, 5, 200), (2, 3, 100))},
        {"problems": 24, "settings": counted((0, 12, 2400), (1, 15, 600))},
    ]
    rows = counted((0, 60, 10_000), (1, 58, 2_500))
    value = {
        "format": "intact sweep", "version": 1, "models": [{"name": f"{name}-1.5b"}],
        "tasks": {"held_out": {"name": "gsm8k", "label": "gsm8k"}}, "design": {"trials": trials}, "rungs": rungs,
        "judgement": {"problems": 100, "settings": rows},
    } | changes  # fmt: skip
    file = place / f"{name}.json"
    file.write_text(json.dumps(value))
    return file


def test_gains_of_a_sweep_are_of_held_out_problems_or_of_the_last_rung(tmp_path):
    (record,) = read_records([sweep_file(tmp_path, "a")], BASELINE, 0.06)
    assert record.name == "gsm8k, a-1.5b"
    assert record.features == RecordFeatures(1.5e9, 0.6, "Numeric")
    four, two = (record.gains[parse_trial(f"self_consistency:n={n}").key] for n in (4, 2))
    assert (four.gain, four.problems) == (pytest.approx(-0.02 + 0.06 * 0.75), 100)
    assert (two.gain, two.problems) == (pytest.approx(-1 / 8 + 0.06 * 7 / 8), 8)


def test_a_loss_of_the_margin_for_the_share_of_tokens_gains_nothing(tmp_path):
    rows = counted((0, 60, 10_000), (1, 57, 5_000))
    file = sweep_file(tmp_path, "a", judgement={"problems": 100, "settings": rows})
    (record,) = read_records([file], BASELINE, 0.03 / (1 - 0.5))
    assert record.gains[TRIALS[1].key].gain == pytest.approx(0, abs=1e-12)


def test_records_that_cannot_be_compared_are_named(tmp_path):
    first, same = sweep_file(tmp_path, "a"), tmp_path / "same.json"
    same.write_text(first.read_text())
    with pytest.raises(ParameterError, match=r"two records are for gsm8k, a-1\.5b"):
        read_records([first, same], BASELINE, 0.06)
    with pytest.raises(
        ParameterError, match="has the baseline self_consistency n=16, but gains are relative to self_consistency n=4"
    ):
        read_records([first], parse_trial("self_consistency:n=4"), 0.06)
    with pytest.raises(FormatError, match="is damaged: KeyError"):
        read_records([sweep_file(tmp_path, "b", judgement={"problems": 100})], BASELINE, 0.06)
    for models in ([{"name": 5}], [5], []):
        with pytest.raises(FormatError, match="is damaged"):
            read_records([sweep_file(tmp_path, "c", models=models)], BASELINE, 0.06)
    with pytest.raises(ParameterError, match=r"none\.json"):
        read_records([tmp_path / "none.json"], BASELINE, 0.06)
