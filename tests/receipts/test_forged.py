"""The true and forged receipts of conformance/receipts have the verdicts that stand beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from intact.cli.app import app

FOLDER = Path(__file__).parents[2] / "conformance" / "receipts"
KEPT = json.loads((FOLDER / "verdicts.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def found():
    """Verify all files at once."""
    files = [str(FOLDER / one["file"]) for one in KEPT["files"]]
    told = CliRunner().invoke(app, ["verify", *files, "--model", str(FOLDER / KEPT["model"]), "--json"])
    receipts = json.loads(told.stdout)["receipts"]
    assert len(receipts) == len(files)
    return dict(zip([one["file"] for one in KEPT["files"]], receipts, strict=True))


@pytest.mark.parametrize("kept", KEPT["files"], ids=lambda one: one["file"])
def test_the_verdict_is_the_one_that_is_kept(found, kept):
    verdict = {name: found[kept["file"]].get(name) for name in ("outcome", "what", "entry", "position")}
    assert verdict == {name: kept[name] for name in verdict}, kept["told"]


def test_nothing_lies_there_without_a_verdict():
    there = {path.name for path in FOLDER.glob("*.receipt")}
    assert there == {one["file"] for one in KEPT["files"]}
    assert len(there) >= 150
    assert {one["outcome"] for one in KEPT["files"]} == {"true", "false", "unverifiable"}
