"""The record of nightly runs: a section that failed, never ran or ran too long ago is named, and fails the status."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.modules import load

ROOT = Path(__file__).parent.parent


@pytest.fixture
def nightly(tmp_path, monkeypatch):
    """The script, with a record of its own, that is empty."""
    module = load("scripts/nightly.py")
    monkeypatch.setattr(module, "RUNS", tmp_path / "nightly.json")
    return module


@pytest.fixture
def log(tmp_path):
    """What a section printed."""
    path = tmp_path / "log"
    path.write_text("compiling\n2 failed, 1 passed in 3.00s\n==== 12 passed, 3 skipped in 4.56s ====\nbye\n")
    return str(path)


def age(nightly, section, days):
    """Make a run older."""
    runs = json.loads(nightly.RUNS.read_text())
    runs[section]["date"] = f"{datetime.now(UTC).date() - timedelta(days=days)}"
    nightly.RUNS.write_text(json.dumps(runs))


def test_all_is_well_if_each_section_passed_lately(nightly, log, capsys):
    for section in ("long", "oldest"):
        nightly.note(section, "passed", "61", log)
    age(nightly, "oldest", 7)
    assert nightly.status(["long", "oldest"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert re.search(r"^long +passed +.* 2 min .*; 12 passed, 3 skipped in 4\.56s$", printed[0])
    assert printed[-1] == "nightly: all 2 sections passed in the last seven days"


def test_what_is_wrong_is_named_by_its_kind(nightly, log, capsys):
    nightly.note("long", "FAILED", "9", log)
    nightly.note("oldest", "passed", "9", log)
    age(nightly, "oldest", 8)
    assert nightly.status(["long", "oldest", "matrix"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "nightly: FAILED: long; never run: matrix; older than seven days: oldest"


def test_a_later_run_replaces_the_one_before(nightly, log):
    nightly.note("long", "FAILED", "9", log)
    nightly.note("long", "passed", "9", log)
    assert nightly.status(["long"]) == 0


def test_each_section_has_a_function_and_unknown_ones_are_refused():
    text = (ROOT / ".ci/nightly").read_text()
    listed = re.search(r"^sections=\((.*?)\)", text, re.MULTILINE | re.DOTALL)[1].split()
    assert {name.partition(":")[0] for name in listed} == {*re.findall(r"^section_(\w+)\(\)", text, re.MULTILINE)}
    assert {*json.loads((ROOT / ".ci/nightly.json").read_text())} <= {*listed}
    done = subprocess.run([ROOT / ".ci/nightly", "unknown"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no section unknown" in done.stderr
