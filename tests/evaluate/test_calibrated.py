"""Calibrated confidence from a graded run: chance, sets of answers, the next problems; what is refused, and why."""

import json
import random
from dataclasses import replace
from fractions import Fraction

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.evaluate.calibrated import open_calibration
from intact.evaluate.predicted import PROBLEMS
from intact.evaluate.results import EvaluationRun, ItemRecord, ItemSample
from intact.evaluate.scores import scores
from intact.reason.budget import Cost
from intact.reason.problem import Answer, Result
from intact.reason.registry import find
from intact.solving.receipts.versions import versions_of_method, versions_of_task
from intact.stats.intervals import wilson
from intact.tasks.choose import choose
from intact.tasks.score.answers import READERS
from intact.tasks.score.judging import note

TASK = choose("gsm8k").task
METHOD = find("self_consistency")
MODEL = {"name": "made.gguf", "weights": "ab" * 32, "profile": "int8"}


def manifest(label="gsm8k", parameters=None, **changes):
    """The manifest of a run by self-consistency with four samples."""
    parameters = parameters or {"n": 4}
    about = {
        "name": METHOD.name, "parameters": parameters, "sampling": {"temperature": 0.7}, "source": None,
        "versions": versions_of_method(METHOD, parameters).to_document(),
    }  # fmt: skip
    task = {
        "name": label, "label": label, "style": "chat", "digests": dict.fromkeys(("items", "prompts", "grader"), "d"),
        "versions": versions_of_task(choose(label).task).to_document(),
    }  # fmt: skip
    made = {"models": [MODEL], "method": about, "budget": {}, "seeds": [0], "tasks": [task], "now": None}
    return made | {"caveats": [], "command": "intact eval made.gguf gsm8k"} | changes


def record(number, answers, seed=0, **fields):
    """A graded problem with these answers; "7" is right, and the method gives the most frequent one."""
    name = f"gsm8k/test/{number}"
    samples = tuple(ItemSample(f"{name}/{i}", one, one == "7", 5, -1.0, "end") for i, one in enumerate(answers))
    best = max(dict.fromkeys(answers), key=answers.count)
    made = ItemRecord(
        0, seed, name, "7", best, best == "7", answers.index(best), answers.count(best) / len(answers), "done", "", {},
        {"tokens": 20}, samples, True,
    )  # fmt: skip
    return made._replace(**fields)


def write(folder, records, about=None, **options):
    """Write a result file."""
    about = about or manifest()
    tasks = [choose(task["label"]) for task in about["tasks"]]
    run = EvaluationRun(about | {"records": len(records)}, tuple(records), scores(tasks, records), **options)
    path = folder / "run.jsonl"
    path.write_bytes(run.data())
    return path


def result(answers, confidence=None, why="done", text="The answer is {}."):
    """What a method makes of texts with these answers."""
    nodes = [
        {
            "kind": "extend", "branch": f"q/{i}", "parent": "q", "text": text.format(one), "tokens": 5, "logprob": -1.0,
            "why": "end",
        }
        for i, one in enumerate(answers)
    ]  # fmt: skip
    best = max(dict.fromkeys(answers), key=answers.count)
    stated = answers.count(best) / len(answers) if confidence is None else confidence
    return Result("q", METHOD.name, Answer(best, confidence=stated), Cost(), why, trace={"nodes": nodes})


SURE, SPLIT, LOST = ["7"] * 4, ["7", "7", "8", "9"], ["8", "8", "9", "7"]
RECORDS = [record(i, SURE) for i in range(60)] + [record(60 + i, SPLIT if i % 2 else LOST) for i in range(40)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_calibration(write(tmp_path_factory.mktemp("run"), RECORDS))


def test_a_chance_is_the_share_right_among_answers_as_sure(run):
    found = run.calibrate(result(SURE), READERS["number"]).chance
    assert found[:2] == (60, 60)
    assert found.confidences == (1, 1)
    assert (found.low, found.high) == pytest.approx(wilson(60, 60, 0.9), abs=1e-9)
    found = run.calibrate(result(SPLIT), READERS["number"]).chance
    assert found[:2] == (20, 40)
    assert found.confidences == (0.5, 0.5)
    below = run.calibrate(result(SPLIT, confidence=0.25), READERS["number"]).chance
    above = run.calibrate(result(SPLIT, confidence=0.75), READERS["number"]).chance
    assert below == above == found


def test_a_method_without_confidence_has_the_chance_of_all_answers(tmp_path):
    run = open_calibration(write(tmp_path, [one._replace(confidence=None) for one in RECORDS]))
    found = run.calibrate(result(SURE), READERS["number"]).chance
    assert found[:2] == (80, 100)
    assert found.confidences is None


@pytest.mark.parametrize("other", [1.01, -0.01])
def test_numbers_that_are_no_chances_are_no_confidence(tmp_path, other):
    """One of them among all answers is enough; 0 and 1 are chances."""
    run = open_calibration(write(tmp_path, [RECORDS[0]._replace(confidence=other), *RECORDS[1:]]))
    assert run.confidences is None
    assert run.calibrate(result(SURE), READERS["number"]).chance[:2] == (80, 100)
    bounds = [RECORDS[0]._replace(confidence=0.0), *RECORDS[1:]]
    assert {0.0, 1.0} < set(open_calibration(write(tmp_path, bounds)).confidences)


def test_problems_without_an_answer_do_not_count_where_one_is_given(tmp_path):
    silent = [record(100 + i, [None] * 4, confidence=None) for i in range(20)]
    run = open_calibration(write(tmp_path, RECORDS + silent))
    assert run.calibrate(result(SPLIT), READERS["number"]).chance[:2] == (20, 40)
    with pytest.raises(ParameterError, match="the method gave no answer"):
        run.calibrate(replace(result(SURE), answer=Answer(None)), READERS["number"])


def test_the_answer_is_given_if_the_set_holds_it_alone(run):
    """Right answers have at least one vote of four in all problems, and two in 80%: at 90% one is needed."""
    given = run.calibrate(result(SURE), READERS["number"])
    assert (given.answers, given.least, given.abstain, given.why) == (("7",), Fraction(1, 4), False, "")
    split = run.calibrate(result(SPLIT), READERS["number"])
    assert split.answers == ("7", "8", "9")
    assert (split.abstain, split.why) == (True, "3 answers have enough votes")


def test_another_level_needs_other_votes(run):
    found = run.calibrate(result(SPLIT), READERS["number"], 0.7)
    assert (found.level, found.least, found.answers) == (0.7, Fraction(1, 2), ("7",))
    assert (found.chance.low, found.chance.high) == pytest.approx(wilson(20, 40, 0.7), abs=1e-9)
    assert "70% sure that between" in " ".join(found.words())


def test_no_set_will_do_where_right_answers_are_seldom_drawn(tmp_path):
    records = RECORDS[:85] + [record(85 + i, ["8", "8", "9", "6"]) for i in range(15)]
    found = open_calibration(write(tmp_path, records)).calibrate(result(SURE), READERS["number"])
    assert (found.answers, found.abstain) == (None, True)
    assert found.why == "for 15 of 100 problems no sample was right, so that no set will do"


def test_an_answer_without_enough_votes_is_not_given(tmp_path):
    run = open_calibration(write(tmp_path, [record(i, SURE) for i in range(100)]))
    found = run.calibrate(result(SPLIT), READERS["number"])
    assert (found.answers, found.least, found.abstain) == ((), 1, True)
    assert found.why == "no answer has enough votes"


def test_sets_hold_a_right_answer_as_often_as_they_say(run):
    rng = random.Random(0)

    def draw():
        p = rng.choice((0.4, 0.7, 0.95))
        return ["7" if rng.random() < p else rng.choice("689") for _ in range(4)]

    held = 0
    for _ in range(300):
        drawn = [draw() for _ in range(25)]
        shares = tuple(Fraction(one.count("7"), 4) for one in drawn)
        made = replace(run, right=(True,) * 25, confidences=None, shares=shares)
        found = made.calibrate(result(draw()), READERS["number"])
        held += found.answers is None or "7" in found.answers
    assert held >= 0.88 * 300


def test_the_next_problems_are_predicted_from_one_answer_to_each(tmp_path):
    records = [record(i, SURE if i < 24 else LOST, seed) for seed in (0, 1) for i in range(100)]
    found = open_calibration(write(tmp_path, records, manifest(seeds=[0, 1]))).calibrate(
        result(SURE), READERS["number"]
    )
    assert found.next == {100: (14, 35), 20: (2, 9)}
    assert "90% sure that between 14 and 35 of the next 100 are right" in " ".join(found.words())


def test_a_calibration_is_plain_json(run):
    found = json.loads(json.dumps(run.calibrate(result(SURE), READERS["number"]).as_dict(), allow_nan=False))
    assert list(found) == [
        "task", "sha256", "right", "problems", "level", "chance", "answers", "votes_needed", "abstain", "why", "next",
        "words",
    ]  # fmt: skip
    assert (found["votes_needed"], found["next"]["20"]) == ("1/4", {"low": 12, "high": 19})


def test_a_method_without_independent_samples_has_no_sets(tmp_path):
    run = open_calibration(write(tmp_path, [one._replace(independent=False) for one in RECORDS]))
    found = run.calibrate(result(SURE), READERS["number"])
    assert (found.answers, found.abstain) == (None, None)
    assert "does not draw several independent samples" in found.why


def test_other_samples_than_those_of_the_run_have_no_sets(run):
    found = run.calibrate(result(["7"] * 3), READERS["number"])
    assert (found.answers, found.why) == (None, "no sets of answers: the method did not draw 4 samples")


@pytest.mark.parametrize(
    ("made", "read", "message"),
    [
        (result(SURE, why="failed"), "number", "the method failed"),
        (result(SURE, why="spent"), "number", "the method was ended by a limit that the calibration run does not have"),
        (result(SURE), "text", "gsm8k reads '7', not 'The answer is 7.'"),
        (result(SURE, text="So x = {} + a. The answer is $x+1$."), "expression", "answers are read differently"),
    ],
)
def test_an_answer_that_came_about_otherwise_is_not_calibrated(run, made, read, message):
    with pytest.raises(ParameterError, match=message):
        run.calibrate(made, READERS[read])


def test_algebra_that_runs_out_of_time_calibrates_nothing(run, monkeypatch):
    def read(text):
        note(text)
        return "7"

    monkeypatch.setattr(run.task, "read", read)
    with pytest.raises(ParameterError, match="computer algebra timed out on a text"):
        run.calibrate(result(SURE), lambda _: "7")


def settings(**method):
    """Settings of an answer, as the manifest has them."""
    made = manifest()
    return {name: made[name] for name in ("models", "budget", "now")} | {"method": made["method"] | method}


def test_equal_settings_do_not_differ(run):
    assert run.differences(settings()) == []
    assert run.differences(settings(sampling={"temperature": 0.7, "max_tokens": 512, "top_p": 1.0, "stop": ()})) == []
    assert run.differences(settings() | {"models": [MODEL | {"name": "another"}]}) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (settings(parameters={"n": 8}), "n is 8, and 4 there"),
        (settings(sampling={"temperature": 0.6}), "temperature is 0.6, and 0.7 there"),
        (settings(name="best_of_n"), "the method is best_of_n, and self_consistency there"),
        (settings() | {"budget": {"tokens": 9}}, "tokens of the budget is 9, and null there"),
        (settings() | {"now": "2026-01-01T00:00:00"}, "now is 2026-01-01T00:00, and null there"),
        (
            settings() | {"models": [MODEL | {"weights": "cd" * 32}]},
            "weights of the model made.gguf is cdcdcdcdcdcdcdcd, and abababababababab there",
        ),
        (settings() | {"models": [MODEL, MODEL]}, "the number of models is 2, and 1 there"),
    ],
)
def test_what_differs_is_named(run, given, words):
    assert run.differences(given) == [words]


def _about(**changes):
    made = manifest()
    return made | {"tasks": [made["tasks"][0] | changes]}


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (_about(style="base"), "its prompts are for base models"),
        (manifest("humaneval"), "reading the answers of humaneval needs more than their text"),
        (manifest("gsm8k:cut=stated"), "reading the answers of gsm8k:cut=stated needs more than their text"),
        (_about(versions={"parts": {"task gsm8k": 0}}), "gsm8k was graded with the versions .* evaluate again"),
        (manifest(method=manifest()["method"] | {"versions": {}}), "self_consistency ran with the versions .* again"),
        (manifest(method=manifest()["method"] | {"source": "ab"}), "self_consistency is not part of this program"),
        (manifest(tasks=manifest()["tasks"] * 2), "exactly one task, but it has gsm8k, gsm8k"),
    ],
)
def test_a_file_that_cannot_calibrate_is_refused_with_the_reason(tmp_path, about, message):
    path = write(tmp_path, RECORDS, about)
    with pytest.raises(ParameterError, match=f"{path} cannot calibrate answers: .*{message}"):
        open_calibration(path)


def test_few_problems_and_earlier_versions_calibrate_nothing(tmp_path):
    with pytest.raises(ParameterError, match="it has 19 problems, but a calibration needs 20"):
        open_calibration(write(tmp_path, RECORDS[:19]))
    assert len(open_calibration(write(tmp_path, RECORDS[:20])).right) == PROBLEMS == 20
    with pytest.raises(ParameterError, match="version 2, which lacks"):
        open_calibration(write(tmp_path, RECORDS, version=2))


def test_damaged_files_are_refused(tmp_path):
    path = write(tmp_path, RECORDS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError):
        open_calibration(path)
