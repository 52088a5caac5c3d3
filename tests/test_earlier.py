"""Files that earlier versions wrote are read, or refused with the version that reads them (tests/earlier/README.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import intact
from intact._base.errors import LockError
from intact.cli.app import app
from intact.evaluate import files
from intact.reason.driving.journal import Journal
from intact.receipts.lock import Lock
from support.journals import finished

EARLIER = Path(__file__).parent / "earlier"
VERSIONS = sorted(path.name for path in EARLIER.iterdir() if path.is_dir())


def earlier(pattern: str) -> list[Path]:
    return sorted(EARLIER.glob(f"*/{pattern}"))


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


@pytest.fixture(scope="module")
def model(model_path, tmp_path_factory) -> Path:
    """The model of all these files, under the name that they know."""
    link = tmp_path_factory.mktemp("model") / "smollm2.gguf"
    link.symlink_to(model_path("smollm2-135m"))
    return link


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="intact")


def kind_of(receipt: Path) -> tuple[str, int]:
    document = json.loads(receipt.read_text("utf-8").splitlines()[0])
    return document["format"], document["version"]


ANSWERS = [path for path in earlier("*.receipt") if kind_of(path)[0] == "intact-receipt"]
RUNS = [path for path in earlier("*.receipt") if kind_of(path)[0] == "intact-run-receipt"]


def test_every_kind_of_file_is_kept():
    assert VERSIONS[0] == "0.1.0"
    assert len(ANSWERS) == 5
    assert len(RUNS) == 4
    assert len(earlier("*.lock")) == 2
    assert len(earlier("*.traces.jsonl")) == 3


def test_receipts_of_answers_still_verify(model):
    verified = command("verify", *ANSWERS, "--model", model, "--json")
    assert {receipt["outcome"] for receipt in json.loads(verified.stdout)["receipts"]} == {"true"}
    assert len(json.loads(verified.stdout)["receipts"]) == 7
    assert verified.exit_code == 0


@pytest.mark.parametrize("receipt", RUNS, ids=label)
def test_receipts_of_runs_verify_or_name_the_version_that_reads_them(receipt, model):
    verified = command("verify", receipt, "--model", model, "--json")
    (found,) = json.loads(verified.stdout)["receipts"]
    if found["outcome"] != "true":
        assert (found["outcome"], found["what"]) == ("unverifiable", "version")
        assert f"the last version of intact that reads it is {receipt.parent.name}" in found["detail"]
        assert verified.exit_code == 3


@pytest.mark.parametrize("result", earlier("*.traces.jsonl"), ids=label)
def test_result_files_are_read_and_reported(result, tmp_path):
    path = result.with_name(result.name.replace(".traces", ""))
    run = files.read(path)
    assert len(run.records) == run.manifest["records"] > 0
    assert command("report", path, "--out", tmp_path / "report.md").exit_code == 0
    assert f"| {len(run.records)} |" in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.parametrize("file", earlier("*.lock"), ids=label)
def test_locks_are_read_and_their_models_found(file, model, monkeypatch):
    monkeypatch.chdir(model.parent)
    assert Lock.parse(file.read_bytes()).run is not None
    checked = command("lock", "check", file)
    assert checked.exit_code == 0, checked.output


def test_a_lock_of_a_later_version_is_refused():
    document = json.loads(earlier("answer.lock")[0].read_text("utf-8")) | {"version": 99}
    with pytest.raises(LockError, match="99"):
        Lock.parse(json.dumps(document).encode())


@pytest.mark.parametrize("journal", earlier("*.journal.sqlite"), ids=label)
def test_journals_spare_what_they_hold(journal, model, tmp_path):
    shutil.copyfile(journal, tmp_path / "journal.sqlite")
    with Journal(tmp_path / "journal.sqlite") as kept:
        before = finished(kept)
    solved = command(
        "solve", "self_consistency", "What is 2 + 3?", "--model", model, "-n", 3, "--max-tokens", 24,
        "--journal", tmp_path, "--json",
    )  # fmt: skip
    assert solved.exit_code == 0, solved.output
    with Journal(tmp_path / "journal.sqlite") as kept:
        assert finished(kept) == before > 0


def test_the_version_at_hand_is_none_of_the_earlier():
    assert intact.__version__ not in VERSIONS
