"""The true and forged receipts of conformance/receipts have the verdicts that stand beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from intact.cli.app import app
from support.modules import load

FOLDER = Path(__file__).parents[2] / "conformance" / "receipts"
FORGE = load("conformance/forge.py")
KEPT = json.loads((FOLDER / "verdicts.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def found():
    """Verify all files at once."""
    files = [str(FOLDER / one["file"]) for one in KEPT["files"]]
    answer = CliRunner().invoke(app, ["verify", *files, "--model", str(FOLDER / KEPT["model"]), "--json"])
    receipts = json.loads(answer.stdout)["receipts"]
    assert len(receipts) == len(files)
    return dict(zip([one["file"] for one in KEPT["files"]], receipts, strict=True))


@pytest.mark.parametrize("kept", KEPT["files"], ids=lambda one: one["file"])
def test_the_verdict_is_the_one_that_is_kept(found, kept):
    wanted = FORGE.expected(kept)
    assert {name: found[kept["file"]].get(name) for name in wanted} == wanted, kept["note"]


def test_other_code_makes_nobody_a_liar(found):
    """What a method makes of texts is only *unverifiable* to a verifier with other code; all else stays as it is."""
    elsewhere = [one for one in KEPT["files"] if "elsewhere" in one]
    assert {(one["elsewhere"]["outcome"], one["elsewhere"]["what"]) for one in elsewhere} == {
        ("unverifiable", "method")
    }
    assert {one["outcome"] for one in elsewhere} == {"false"}
    assert len(elsewhere) > 20


def test_nothing_lies_there_without_a_verdict():
    there = {path.name for path in FOLDER.glob("*.receipt")}
    assert there == {one["file"] for one in KEPT["files"]}
    assert len(there) >= 150
    assert {one["outcome"] for one in KEPT["files"]} == {"true", "false", "unverifiable"}
