"""Commands and the problems of tasks: samples in place of full sets, splits, and what is fetched by name."""

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact.cli.fetch import fetch_problems
from intact.cli.task_names import task_name
from intact.evaluate.files import read
from intact.evaluate.report.arms import arms_of, pairs_of
from intact.tasks.choose import choose
from intact.tasks.data import SAMPLE_SIZE, fetched_folder, find_file
from intact.tasks.gsm8k import GSM8K
from support.problems import REPO, ROWS, full_set, nothing_here, upstream
from support.tiny import write_tiny


@pytest.fixture(autouse=True)
def github(tmp_path, monkeypatch):
    """Nothing is here; a server has GSM8K's files."""
    with nothing_here(tmp_path, monkeypatch) as server:
        yield server


def test_the_old_spelling_of_a_split_works_and_says_what_to_write(capsys):
    full_set(fetched_folder())
    assert task_name("gsm8k:shots=1", "test") == "gsm8k:shots=1,split=test"
    assert capsys.readouterr().err == "--split test is an old form: write gsm8k:shots=1,split=test\n"
    assert task_name("gsm8k:split=test") == "gsm8k:split=test"
    assert capsys.readouterr().err == ""
    with pytest.raises(ParameterError, match="both name a split"):
        task_name("gsm8k:split=test", "train")


def test_a_sample_is_named_on_stderr(capsys):
    assert task_name("gsm8k") == "gsm8k:sample=100"
    said = capsys.readouterr().err.replace("\n", " ")
    assert "gsm8k:sample=100: the first 100 problems" in said
    assert "intact tasks gsm8k --fetch" in said


def test_full_sets_are_fetched_by_name_checked_and_kept(github, intact_command):
    before = intact_command("tasks", "gsm8k", "--json").json
    assert [(one["problems"], one["sample"], "--fetch" in one["missing"]) for one in before] == [(100, 100, True)]
    fetched = intact_command("tasks", "gsm8k", "--fetch", "--json")
    assert fetched.code == 0, fetched.err
    assert [(one["problems"], one["sample"], one["missing"]) for one in fetched.json] == [(120, None, None)]
    assert (fetched_folder() / "gsm8k" / "train.jsonl").read_bytes() == ROWS
    assert "MIT" in fetched.err
    assert github.ranges == [None, None]
    again = intact_command("tasks", "gsm8k", "--fetch")
    assert "already here" in again.err
    assert len(github.ranges) == 2, "nothing was fetched again"


def test_a_file_that_is_another_than_it_should_be_is_refused(github, tmp_path, intact_command):
    github.files[REPO, "data/test.jsonl"] = ROWS.replace(b"What", b"Whom")
    refused = intact_command("tasks", "gsm8k", "--fetch")
    assert refused.code == 2
    said = " ".join(refused.err.split())
    assert "the downloaded file has SHA-256" in said
    assert f"expected {hashlib.sha256(ROWS).hexdigest()}; it was deleted" in said
    assert find_file("gsm8k/test.jsonl") is None
    assert not list(fetched_folder().rglob("*.partial"))


def test_a_compressed_file_stays_compressed(github, monkeypatch):
    content = gzip.compress(ROWS)
    github.files[REPO, "test.jsonl.gz"] = content
    monkeypatch.setattr(GSM8K, "upstream", {"test": upstream(content, "test.jsonl.gz")})
    (fetched,) = fetch_problems(GSM8K())
    assert fetched.path == fetched_folder() / "gsm8k" / "test.jsonl.gz"
    assert len(choose("gsm8k").load()) == SAMPLE_SIZE + 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--fetch needs the names of tasks"),
        (("procbench",), "procbench has no files to fetch"),
        (("minif2f_rocq",), "minif2f_rocq cannot be fetched by name: get it from LLM4Rocq/miniF2F-rocq and put it at"),
    ],
)
def test_what_cannot_be_fetched_says_so(intact_command, words, message):
    refused = intact_command("tasks", *words, "--fetch")
    assert (refused.code, message in " ".join(refused.err.split())) == (2, True), refused.err


def test_an_own_file_that_hides_a_fetched_one_is_named(github, intact_command, tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))
    full_set(tmp_path / "data")
    said = " ".join(intact_command("tasks", "gsm8k", "--fetch").err.split())
    assert f"is not used while {tmp_path / 'data'}" in said


def test_an_evaluation_on_the_sample_is_never_taken_for_one_on_the_full_set(intact_command, tmp_path, monkeypatch):
    """The problems of both have the same names and not the same texts here; one journal serves both."""
    monkeypatch.chdir(tmp_path)
    model = write_tiny(tmp_path / "tiny.gguf", context=400)

    def evaluate(*options):
        words = ("eval", model, "gsm8k", "--limit", 2, "--max-tokens", 3, "--threads", 1)
        return intact_command(*words, *options)

    sampled = evaluate("--journal", tmp_path / "journal")
    assert sampled.code == 0, sampled.err
    assert "gsm8k:sample=100: the first 100 problems" in " ".join(sampled.err.split())
    assert "gsm8k:sample=100" in sampled.out
    file = tmp_path / "tiny.gguf-gsm8k_sample_100-chain_of_thought.jsonl"
    manifest, *records, _ = map(json.loads, file.read_text().splitlines())
    (about,) = manifest["tasks"]
    assert (about["label"], about["sample"], about["problems"]) == ("gsm8k:sample=100", 100, 2)
    assert "gsm8k:sample=100 is the sample of the first 100 problems of gsm8k" in manifest["caveats"][-1]
    assert manifest["command"].startswith("intact eval tiny.gguf gsm8k:sample=100 ")
    full_set(fetched_folder())
    refused = evaluate("--out", file)
    assert "contains the result of another run" in " ".join(refused.err.split())
    for journal in ("journal", "other"):
        assert evaluate("--journal", tmp_path / journal, "--out", tmp_path / f"{journal}.jsonl").code == 0
    after, alone = ((tmp_path / f"{name}.jsonl").read_bytes() for name in ("journal", "other"))
    assert after == alone
    assert b"sample=100" not in alone
    again = intact_command("eval", model, "gsm8k:sample=100", "--limit", 2, "--max-tokens", 3, "--out", file)
    assert again.code == 0, "the label makes the same result though the full set is here"
    assert [record["right"] for record in records] == ["18", "3"]
    on_sample, on_full = read(file), read(tmp_path / "other.jsonl")
    assert reasons(on_sample, on_full) == ("their problems have the same names but are not the same", True)
    same = {name: value for name, value in about.items() if name != "sample"} | {"label": "gsm8k"}
    on_same = replace(on_sample, manifest={**manifest, "tasks": [same]})
    assert reasons(on_sample, on_same) == ("", True)
    assert reasons(on_same, on_same) == ("", False)


def reasons(one, other):
    """Why a report does not compare two runs, and whether it says that one is of a sample."""
    ((_, _, forbidden, differ),) = pairs_of(arms_of({Path("one"): one, Path("other"): other}))
    return forbidden, "data sets (one is a sample with the same problems)" in differ
