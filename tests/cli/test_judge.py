"""``intact judge``: verdicts, agreement with gold labels, files, and the null control."""

import json

import pytest

from intact.receipts.document import read_receipts
from support.tiny import write_tiny


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "qwen3", context=2048)


@pytest.fixture
def answers(tmp_path):
    file = tmp_path / "answers.jsonl"
    rows = [{"id": f"q{i}", "question": f"{i}?", "answer": "x" * i, "gold": "correct"} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_verdicts_are_printed_with_their_agreement_and_control(intact_command, tiny_path, answers):
    done = intact_command("judge", answers, "-m", tiny_path, "--control")
    assert done.code == 0, done.err
    assert "agreement with gold labels" in done.out
    assert "best --cut for these gold labels" in done.out
    assert "3 of 4 agree with a cut fitted to the others" in done.out  # the least margin is below those of the others
    for condition in ("alone", "in reverse order", "among strangers"):
        assert f"judged {condition}: 0 of 4 verdicts changed" in done.out


def test_files_hold_verdicts_and_receipts_that_verify(intact_command, tiny_path, answers, tmp_path):
    out, receipts = tmp_path / "verdicts.jsonl", tmp_path / "verdicts.receipts"
    arguments = ("judge", answers, "-m", tiny_path, "--out", out, "--receipt", receipts, "--json")
    done = intact_command(*arguments)
    assert done.code == 0, done.err
    digests = [one.digest.hex() for one in read_receipts(receipts)]
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert done.json["verdicts"] == verdicts
    assert [one["id"] for one in verdicts] == ["q0", "q1", "q2", "q3"]
    assert [one["receipts"] for one in verdicts] == [digests[:2], digests[2:4], digests[4:6], digests[6:]]
    right = sum(one["verdict"] == "correct" for one in verdicts)
    assert done.json["agreement"]["share"] == right / 4
    assert done.json["changed"] is None
    checked = intact_command("verify", receipts, "--model", tiny_path)
    assert checked.code == 0, checked.err


def test_pairs_and_rubrics_of_ones_own(intact_command, tiny_path, tmp_path):
    file, rubric = tmp_path / "pairs.jsonl", tmp_path / "rubric.txt"
    file.write_text('{"question": "q", "first": "a", "second": "b"}\n')
    rubric.write_text("{question} {first} {second} {labels}")
    done = intact_command("judge", file, "-m", tiny_path, "--rubric", rubric, "--labels", "x, y", "--json")
    assert done.code == 0, done.err
    (verdict,) = done.json["verdicts"]
    assert [len(row) for row in verdict["scores"]] == [2, 2]
    assert verdict["verdict"] in ("first", "second", "tie")
    assert done.json["agreement"] is None
    refused = intact_command("judge", file, "-m", tiny_path, "--cut", "1")
    assert "a cut needs a rubric of single answers" in refused.err


def test_a_changed_verdict_ends_with_status_1(intact_command, tiny_path, answers, monkeypatch):
    monkeypatch.setattr("intact.evaluate.model_judge.null_control", lambda *_: {"alone": 1})
    done = intact_command("judge", answers, "-m", tiny_path, "--control")
    assert done.code == 1
    assert "judged alone: 1 of 4 verdicts changed" in done.out


def test_mistakes_are_named_before_the_model_is_loaded(intact_command, tmp_path, answers):
    missing = intact_command("judge", tmp_path / "none.jsonl", "-m", tmp_path / "no.gguf")
    assert missing.code
    assert "none.jsonl cannot be read" in missing.err
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("no place")
    done = intact_command("judge", answers, "-m", tmp_path / "no.gguf", "--rubric", rubric)
    assert done.code
    assert "must have a place for {answer}" in done.err
