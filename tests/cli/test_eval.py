"""``intact eval`` on a tiny random model: its result file has the same bytes however it was made."""

import hashlib
import json
import shlex

import pytest

import intact
from intact._base.errors import UndecidedError
from intact.receipts.document import read_receipts
from intact.receipts.identity import digests_of
from intact.solving.receipts import PARSERS
from intact.tasks.gsm8k import GSM8K
from intact.tasks.score.judging import note
from support.killed import entries, run
from support.tiny import write_evaluated, write_tiny

ASKED = ("gsm8k", "--method", "self_consistency", "-n", "6", "--max-tokens", "24", "--seed", "0-1")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and problems that it gets right now and then."""
    return write_evaluated(tmp_path_factory.mktemp("eval"), 5)


@pytest.fixture
def evaluate(intact_command, place, tmp_path, monkeypatch):
    """Evaluate, and give the bytes of result and trees."""
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))

    def run(*options, words=ASKED, file="run.jsonl"):
        result = intact_command("eval", place / "tiny.gguf", *words, "--out", tmp_path / file, "--json", *options)
        assert result.code == 0, result.err
        run.json = result.json
        return (tmp_path / file).read_bytes(), (tmp_path / file).with_suffix(".traces.jsonl").read_bytes()

    return run


@pytest.fixture(scope="module")
def expected(place, tmp_path_factory):
    """The bytes that one thread gives, all at once."""
    from typer.testing import CliRunner

    from intact.cli.app import app

    file = tmp_path_factory.mktemp("expected") / "run.jsonl"
    words = ["eval", str(place / "tiny.gguf"), *ASKED, "--out", str(file), "--threads", "1"]
    result = CliRunner().invoke(app, words, env={"INTACT_DATA": str(place / "data")}, prog_name="intact")
    assert result.exit_code == 0, result.stderr
    return file.read_bytes(), file.with_suffix(".traces.jsonl").read_bytes()


def test_a_result_states_what_was_asked_what_was_answered_and_how_well(expected):
    manifest, *records, last = map(json.loads, expected[0].decode().splitlines())
    assert manifest["models"][0]["name"] == "tiny.gguf"
    assert len(manifest["models"][0]["weights"]) == 64
    assert manifest["method"]["parameters"] == {"n": 6}
    assert manifest["seeds"] == [0, 1]
    assert manifest["command"].startswith("intact eval tiny.gguf gsm8k --method self_consistency --set n=6")
    assert [(r["seed"], r["id"]) for r in records] == [(s, f"gsm8k/test/{i}") for s in (0, 1) for i in range(5)]
    assert all(len(record["samples"]) == 6 for record in records)
    assert any(sample["correct"] for record in records for sample in record["samples"])
    assert all(s["correct"] == (s["answer"] == r["right"]) for r in records for s in r["samples"])
    (score,) = [score for score in last["scores"] if score["metric"] == "accuracy"]
    assert score["value"] == sum(record["correct"] for record in records) / 10
    assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
    assert score["low"] < score["high"]


@pytest.mark.parametrize(
    "options",
    [
        ("--threads", "2"),
        ("--batch", "8"),
        ("--batch", "64"),
        ("--parallel", "1"),
        ("--parallel", "3", "--shuffle", "1", "--threads", "2"),
    ],
    ids=" ".join,
)
def test_threads_batch_order_and_parallel_work_change_no_byte(evaluate, expected, options):
    assert evaluate(*options) == expected


def test_a_finished_run_is_replayed_to_the_same_bytes_without_writing_a_token(evaluate, expected, tmp_path):
    assert evaluate(file="a.jsonl") == expected
    again = evaluate("--journal", tmp_path / "a.journal", file="b.jsonl")
    assert again == expected


def test_more_samples_take_over_those_that_were_drawn(evaluate, tmp_path):
    words = ("gsm8k", "--method", "self_consistency", "--max-tokens", "24")
    few, _ = evaluate("-n", "2", "--journal", tmp_path / "journal", words=words, file="few.jsonl")
    many, _ = evaluate("-n", "5", "--journal", tmp_path / "journal", words=words, file="many.jsonl")
    alone, _ = evaluate("-n", "5", words=words, file="alone.jsonl")
    assert many == alone
    for one, other in zip(few.splitlines()[1:-1], many.splitlines()[1:-1], strict=True):
        assert json.loads(one)["samples"] == json.loads(other)["samples"][:2]


@pytest.mark.parametrize(
    "strikes", [[("step", 2)], pytest.param([("statement", 3), ("step", 5), ("statement", 2)], marks=pytest.mark.slow)]
)
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(place, expected, tmp_path, strikes):
    def start(file, point="step", count=0):
        words = ["eval", str(place / "tiny.gguf"), *ASKED, "--out", str(file), "--parallel", "1", "--threads", "1"]
        return run(words, {"INTACT_DATA": str(place / "data")}, point, count)

    whole, file = start(tmp_path / "whole.jsonl"), tmp_path / "run.jsonl"
    before, finished, journal = 0, 0, tmp_path / "run.journal" / "journal.sqlite"
    for point, share in strikes:
        ended = start(file, point, whole.counted[point] // share)
        assert ended.killed
        assert not file.exists()
        before, (finished, _) = finished, entries(journal)
        assert finished >= before
    assert finished > before, "the last took over what the first had finished, and went on"
    assert before > 0 or len(strikes) == 1
    last = start(file)
    assert (file.read_bytes(), file.with_suffix(".traces.jsonl").read_bytes()) == expected
    assert 0 < last.counted["step"] < whole.counted["step"], "what was finished has been written again"


def test_bad_input_is_named_and_nothing_is_written(intact_command, place, tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))
    model, file = place / "tiny.gguf", tmp_path / "run.jsonl"

    def error(*words):
        result = intact_command("eval", model, *words, "--out", file)
        assert result.code == 2
        assert not file.exists()
        return result.err

    assert "no task named 'gsm9k'" in error("gsm9k")
    assert "style must be chat or base" in error("gsm8k:style=loud")
    assert "gsm8k takes" in error("gsm8k:level=3")
    assert "given twice" in error("gsm8k", "gsm8k")
    assert "--seed must be a seed, a range or a list" in error("gsm8k", "--seed", "a")
    assert "must be distinct" in error("gsm8k", "--seed", "1,1")
    assert "cap tokens or operations instead" in error("gsm8k", "--budget", "seconds=3")
    assert "has no parameter" in error("gsm8k", "-n", "3") or "takes cue" in error("gsm8k", "-n", "3")
    assert "must be at least 1" in error("gsm8k", "--method", "self_consistency", "--set", "n=0")
    assert "m must be at most k (8), got 9" in error("gsm8k", "--method", "short_m_at_k", "--set", "m=9")
    assert "exploration must be of type float, such as" in error(
        "gsm8k", "--method", "uct_search", "--set", "exploration=nan"
    )
    assert "temperature must lie in [0, 1000], got inf" in error("gsm8k", "--temperature", "inf")
    assert "top_p must lie in (0, 1], got 3" in error("gsm8k", "--top-p", "3")
    assert not file.with_suffix(".journal").exists()
    assert "does not exist" in error("mawps_addsub")
    result = intact_command("eval", model, "gsm8k", "--out", tmp_path / "run.traces.jsonl", "--max-tokens", "4")
    assert result.code == 2
    assert "the ending .traces.jsonl is reserved for traces" in result.err
    assert list(tmp_path.glob("*.jsonl")) == []
    file.write_text("something else\n")
    result = intact_command("eval", model, "gsm8k", "--out", file, "--max-tokens", "4")
    assert result.code == 2
    assert "contains the result of another run" in result.err
    assert file.read_text() == "something else\n"


@pytest.mark.parametrize("where", ["correct", "read"])
def test_an_undecided_verdict_gives_no_score_and_is_tried_again(
    intact_command, place, expected, tmp_path, monkeypatch, where
):
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))
    file = tmp_path / "run.jsonl"
    answer = next(
        sample["answer"]
        for row in expected[0].splitlines()[1:-1]
        for sample in json.loads(row)["samples"]
        if sample["answer"] is not None
    )
    correct, read = GSM8K.correct, GSM8K.read

    def judges(task, item, given):
        if given == answer:
            raise UndecidedError("this machine is too slow")
        return correct(task, item, given)

    def reads(task, text):
        given = read(task, text)
        if given == answer:
            note(text)
        return given

    with monkeypatch.context() as slow:
        slow.setattr(GSM8K, where, judges if where == "correct" else reads)
        result = intact_command("eval", place / "tiny.gguf", *ASKED, "--out", file, "--json")
    assert result.code == 3, result.err
    _, *records, last = map(json.loads, file.read_text().splitlines())
    undecided = [r for r in records if answer in (r["answer"], *(sample["answer"] for sample in r["samples"]))]
    assert [(one["seed"], one["id"]) for one in result.json["undecided"]] == [(r["seed"], r["id"]) for r in undecided]
    assert {s["correct"] for r in undecided for s in r["samples"] if s["answer"] == answer} == {None}
    assert {score["metric"] for score in last["scores"]} == {"tokens"} == {s["metric"] for s in result.json["scores"]}
    reported = intact_command("report", file, "--out", tmp_path / "run.md")
    assert reported.code == 2
    assert "undecided" in reported.err
    again = intact_command("eval", place / "tiny.gguf", *ASKED, "--out", file)
    assert (again.code, file.read_bytes()) == (0, expected[0])


def test_curves_over_the_number_of_samples_are_drawn_from_independent_ones_alone(evaluate):
    evaluate()
    assert {"pass@1", "pass@2", "pass@4", "pass@6", "majority@6"} <= {
        score["metric"] for score in evaluate.json["scores"]
    }
    words = ("gsm8k", "--method", "short_m_at_k", "--set", "k=3", "--set", "m=1", "--max-tokens", "24")
    evaluate(words=words, file="short.jsonl")
    assert {score["metric"] for score in evaluate.json["scores"]} == {"accuracy", "tokens"}


def test_a_stop_string_of_the_task_ends_a_sample_as_the_model_does(evaluate, tmp_path):
    rows = [{"q": f"What is 1 + {i}?", "a": 1 + i} for i in range(3)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = ['name = "sums"', 'grader = "exact"', "[items]", 'file = "sums.jsonl"', 'question = "{q}"', 'answer = "{a}"']
    (tmp_path / "sums.toml").write_text("\n".join([*task, "[prompt]", 'stops = ["e", "a", "t"]']))
    words = (f"{tmp_path / 'sums.toml'}:style=base", "--method", "self_consistency", "-n", "4", "--max-tokens", "60")
    result, traces = evaluate(words=words, file="base.jsonl")
    assert {"pass@1", "pass@4", "majority@4"} <= {score["metric"] for score in evaluate.json["scores"]}
    records = [json.loads(line) for line in result.splitlines()[1:4]]
    samples = [sample for record in records for sample in record["samples"]]
    assert "closed" in {sample["why"] for sample in samples}
    nodes = [node for line in traces.splitlines() for node in json.loads(line)["nodes"]]
    assert not any(stop in node["text"] for node in nodes for stop in "eat" if node["why"] == "closed")
    assert all(record["answer"] in {sample["answer"] for sample in record["samples"]} for record in records)


def test_samples_that_the_answer_does_not_come_from_make_no_curve(evaluate, tmp_path):
    table = {"pilot": 2, "edges": [], "arms": [["self_consistency", {"n": 3}]]}
    (tmp_path / "methods.json").write_text(json.dumps(table))
    chosen = ("--method", "compute_optimal", "--set", f"table={tmp_path / 'methods.json'}")
    result, _ = evaluate(words=("gsm8k", *chosen, "--max-tokens", "24"), file="chosen.jsonl")
    assert {score["metric"] for score in evaluate.json["scores"]} == {"accuracy", "tokens"}
    stated = json.loads(result.splitlines()[0])["method"]["files"]
    assert stated == {"table": hashlib.sha256((tmp_path / "methods.json").read_bytes()).hexdigest()}


def test_tasks_are_listed_with_what_is_missing(intact_command, place, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(place / "data"))
    listed = {
        task["name"]: task for task in intact_command("tasks", "gsm8k", "svamp", "gsm_ranges:level=2", "--json").json
    }
    assert listed["gsm8k"]["problems"] == 5
    assert "does not exist" in listed["svamp"]["missing"]
    assert listed["gsm_ranges"]["parameters"]["level"] == 2
    shown = intact_command("tasks", "gsm_ranges")
    assert "logical_error" in shown.out
    assert "level=1" in shown.out


def test_a_task_of_ones_own_whose_problems_cannot_be_read_is_an_error(intact_command, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('grader = "number"\n[items]\nfile = "none.jsonl"\nquestion = "{q}"\nanswer = "{a}"\n')
    refused = intact_command("tasks", file)
    assert (refused.code, "none.jsonl" in refused.err, refused.out) == (2, True, "")


def test_likelihoods_are_compared_and_kept(evaluate, place, tmp_path):
    (place / "data" / "arc_easy").mkdir(exist_ok=True)
    choices = {"text": ["a stone", "a bird in the sky"], "label": ["A", "B"]}
    rows = [{"id": f"q{i}", "question": f"What flies {i}?", "choices": choices, "answerKey": "B"} for i in range(3)]
    file = place / "data" / "arc_easy" / "validation.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("arc_easy_likelihood",)
    first = evaluate("--threads", "1", words=words, file="a.jsonl")
    assert evaluate("--threads", "2", "--journal", tmp_path / "b", words=words, file="b.jsonl") == first
    assert evaluate("--journal", tmp_path / "a.journal", words=words, file="c.jsonl") == first
    record = json.loads(first[0].splitlines()[1])
    assert [sample["answer"] for sample in record["samples"]] == ["0", "1"]
    assert record["correct"] == (record["samples"][1]["logprob"] > record["samples"][0]["logprob"])
    assert {score["metric"] for score in evaluate.json["scores"]} == {"acc", "acc_norm"}


def test_the_command_in_a_result_makes_it_again(intact_command, place, evaluate, tmp_path):
    words = (
        "gsm8k:style=base,shots=1",
        "gsm_ranges:level=2,size=3",
        "--method",
        "best_of_n",
        "-n",
        "2",
        "--limit",
        "2",
    )
    words += (
        "--set",
        "delimiter=\\n",
        "--max-tokens",
        "8",
        "--temperature",
        "0.5",
        "--seed",
        "3-4",
        "--budget",
        "tokens=14",
    )
    made = evaluate(*("--profile", "fp32"), words=words)
    command = json.loads(made[0].splitlines()[0])["command"]
    program, verb, model, *rest = shlex.split(command)
    assert (program, verb, model) == ("intact", "eval", "tiny.gguf")
    result = intact_command("eval", place / model, *rest, "--out", tmp_path / "again.jsonl")
    assert result.code == 0, result.err
    assert (tmp_path / "again.jsonl").read_bytes() == made[0]


def test_the_command_in_a_result_names_further_models_as_they_were_given(evaluate, place):
    words = ("gsm_ranges:size=1", "--max-tokens", "4", "--with", f"large={place / 'tiny.gguf'}")
    manifest = json.loads(evaluate(words=words)[0].splitlines()[0])
    assert [model["name"] for model in manifest["models"]] == ["tiny.gguf", "large"]
    assert manifest["command"].startswith("intact eval tiny.gguf gsm_ranges:size=1 --with large=tiny.gguf --method")


def test_a_task_measures_what_it_says_also_where_there_is_no_answer(evaluate):
    made, _ = evaluate(words=("gsm_ranges:size=6", "procbench:steps=2,size=4", "--max-tokens", "6"))
    records = [json.loads(line) for line in made.splitlines()[1:-1]]
    assert any(record["answer"] is None for record in records if record["task"] == 0)
    for record in records:
        if record["task"] == 0:
            assert record["correct"] + sum(record["measures"].values()) == 1
        else:
            assert set(record["measures"]) == {"prefix_accuracy", "sequential_match"}
    assert {"logical_error", "prefix_accuracy"} <= {score["metric"] for score in evaluate.json["scores"]}


def test_every_answer_has_a_receipt(evaluate, intact_command, place, expected, tmp_path):
    """Under each seed, in the order of the records; the result has the bytes that it has without."""
    file = tmp_path / "gsm8k.receipts"
    assert evaluate("--receipt", file) == expected
    assert evaluate("--receipt", file, "--journal", tmp_path / "run.journal", file="again.jsonl") == expected
    verified = intact_command("verify", file, "--model", place / "tiny.gguf", "--json")
    assert (verified.code, verified.json["true"]) == (0, 10)
    receipts = list(read_receipts(file, PARSERS))
    assert [receipt.header.seed for receipt in receipts] == [0] * 5 + [1] * 5
    answers = [json.loads(row).get("answer") for row in expected[0].decode().splitlines()[1:-1]]
    assert [receipt.result.answer for receipt in receipts] == answers


@pytest.mark.parametrize("other", [("--batch", "3"), pytest.param(("--threads", "2"), marks=pytest.mark.slow)])
def test_a_mix_is_stated_and_its_bytes_do_not_depend_on_the_machine(evaluate, expected, place, tmp_path, other):
    partner = write_tiny(tmp_path / "small.gguf", seed=1)
    mixed = (*ASKED, "--mix", "contrastive:beta=0.75", "--partner", str(partner))
    once = evaluate("--threads", "1", words=mixed)
    assert evaluate(*other, "--parallel", "2", words=mixed, file="again.jsonl") == once
    manifest, *records, _ = map(json.loads, once[0].decode().splitlines())
    (model,) = manifest["models"]
    assert model["mix"]["parameters"] == {"alpha": 100_000, "beta": 750_000}
    with intact.load(partner) as loaded:
        assert model["mix"]["partners"] == [digests_of(loaded).weights.hex()]
    assert "--mix contrastive:beta=0.75,alpha=0.1 --partner small.gguf" in manifest["command"]
    plain, *others, _ = map(json.loads, expected[0].decode().splitlines())
    assert "mix" not in plain["models"][0]
    assert [one["samples"] for one in records] != [one["samples"] for one in others]


def test_a_mix_is_refused_for_likelihoods_before_a_model_is_opened(intact_command, tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "no.gguf").write_bytes(b"no model")
    result = intact_command(
        "eval", tmp_path / "no.gguf", "gsm8k", "arc_easy_likelihood", "--mix", "guidance", "--shadow", "x"
    )
    assert result.code == 2
    assert "compares likelihoods, which belong to a single model: it does not support a mix" in result.err
