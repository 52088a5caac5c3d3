"""Stages of the checks are skipped only where the same inputs have passed."""

import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def checkout(tmp_path, root):
    """A checkout with one kernel, and the script."""
    for folder in ("scripts", ".ci", "native", "docs"):
        (tmp_path / folder).mkdir()
    shutil.copy(root / "scripts/stages.py", tmp_path / "scripts")
    (tmp_path / ".ci/run").write_text("")
    (tmp_path / "native/sum.cpp").write_text("int sum(int a, int b) { return a + b; }\n")
    (tmp_path / "docs/page.md").write_text("A page.\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)

    def stage(*command, options=()):
        words = [sys.executable, "scripts/stages.py", "tiers", *options, "--", *command]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    return tmp_path, stage


def test_a_stage_is_skipped_until_what_it_depends_on_changes(checkout):
    folder, stage = checkout
    assert "ran" in stage("echo", "ran").stdout
    (folder / "docs/page.md").write_text("Another page.\n")
    assert "SKIPPED tiers" in stage("echo", "ran").stdout
    (folder / "native/sum.cpp").write_text("int sum(int a, int b) { return a - b; }\n")
    assert "ran" in stage("echo", "ran").stdout
    (folder / "native/new.cpp").write_text("int one() { return 1; }\n")
    assert "ran" in stage("echo", "ran").stdout
    assert "SKIPPED" not in stage("echo", "ran", options=["--always"]).stdout


def test_a_stage_that_fails_is_not_noted(checkout):
    folder, stage = checkout
    assert stage("false").returncode == 1
    assert not (folder / ".ci/passed.json").exists()
    assert "ran" in stage("echo", "ran").stdout
    assert (folder / ".ci/passed.json").exists()
