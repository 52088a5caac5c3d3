"""The date is no part of a result: commands that run methods tell chat templates a fixed time."""

import json
from datetime import datetime

import pytest

from intact.receipts.document import read_receipts
from intact.solving.receipts import PARSERS
from support.clock import set_clock, write_dated
from support.tiny import write_tiny

TODAY, TOMORROW = datetime(2026, 11, 20, 17, 45), datetime(2026, 11, 21, 9)
THEN = "1999-12-31T23:59:59"
ASK = ("Name a colour.", "--max-tokens", "6", "--json")
TASK = ("--method", "self_consistency", "-n", "2", "--max-tokens", "4")


@pytest.fixture(scope="module")
def dated(tmp_path_factory):
    return write_dated(tmp_path_factory.mktemp("models") / "dated.gguf")


@pytest.fixture
def evaluate(intact_command, tmp_path, monkeypatch):
    """Evaluate a model; the bytes of result and trees, and the manifest."""
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(2)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))

    def run(model, name, *options):
        file = tmp_path / f"{name}.jsonl"
        result = intact_command("eval", model, "gsm8k", *TASK, "--out", file, *options)
        assert result.code == 0, result.err
        data = file.read_bytes()
        return data, file.with_suffix(".traces.jsonl").read_bytes(), json.loads(data.splitlines()[0])

    return run


def test_an_evaluation_has_the_same_bytes_on_two_dates(evaluate, dated, monkeypatch):
    set_clock(monkeypatch, TODAY)
    today = evaluate(dated, "today")
    set_clock(monkeypatch, TOMORROW)
    assert evaluate(dated, "tomorrow") == today
    assert today[2]["now"] == "2024-07-26T00:00:00"
    assert "--now" not in today[2]["command"]


def test_another_time_is_stated_and_asks_other_prompts(evaluate, dated, tmp_path):
    manifests = [
        evaluate(dated, name, "--journal", tmp_path / "journal", *options)[2]
        for name, options in {"default": (), "then": ("--now", THEN)}.items()
    ]
    prompts = [one["tasks"][0]["digests"].pop("prompts") for one in manifests]
    assert [one.pop("now") for one in manifests] == ["2024-07-26T00:00:00", THEN]
    assert prompts[0] != prompts[1]
    commands = [one.pop("command") for one in manifests]
    assert f"--now {THEN}" in commands[1]
    assert manifests[0] == manifests[1]  # nothing else differs
    alone = evaluate(dated, "alone", "--now", THEN)
    assert alone[:2] == evaluate(dated, "again", "--journal", tmp_path / "journal", "--now", THEN)[:2]


def test_a_template_without_a_date_is_told_none(evaluate, tmp_path):
    plain = write_tiny(tmp_path / "plain.gguf")
    first = evaluate(plain, "first")
    assert first[2]["now"] is None
    assert evaluate(plain, "second", "--now", THEN) == first


def test_solve_gives_the_same_on_two_dates(intact_command, dated, monkeypatch):
    asked = ("solve", "self_consistency", "What is 2 + 2?", "-n", "2", "--max-tokens", "4", "-m", dated, "--json")
    answers = []
    for moment, options in ((TODAY, ()), (TOMORROW, ()), (TODAY, ("--now", THEN))):
        set_clock(monkeypatch, moment)
        result = intact_command(*asked, *options)
        assert result.code == 0, result.err
        result.json["cost"].pop("seconds")
        answers.append(result.json)
    assert answers[0] == answers[1] != answers[2]
    refused = intact_command(*asked, "--now", "noon")
    assert refused.code == 2
    assert "now must be a time such as 2026-11-20T17:45:00, got 'noon'" in refused.err


def test_an_answer_is_of_its_day_unless_told(intact_command, dated, tmp_path, monkeypatch):
    set_clock(monkeypatch, TODAY)
    for command, stdin in ((("run", "-m", dated, ASK[0]), None), (("chat", "-m", dated, "--json"), "Name a colour.\n")):
        for options, now in (((), TODAY.isoformat()), (("--now", THEN), THEN)):
            file = tmp_path / f"{command[0]}{len(options)}.receipt"
            asked = (*command, "--max-tokens", "6", "--receipt", file, *options)
            assert intact_command(*asked, stdin=stdin).code == 0
            (receipt,) = read_receipts(file, PARSERS)
            assert receipt.header.request.source.now == now
