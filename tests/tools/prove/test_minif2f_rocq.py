"""The statements of miniF2F in Rocq: what is recorded is what the page says, and what Rocq says again."""

import json
import re

import pytest

from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.sandbox import protection

ROCQ = find_assistant("rocq")


@pytest.fixture
def records(root):
    text = (root / "study" / "records" / "minif2f_rocq.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_page_has_the_recorded_numbers(root, records):
    page = " ".join((root / "study" / "proving.md").read_text("utf-8").split())
    alone = sum(not one["error"] for one in records)
    tried = [one for one in records if "proved" in one]
    proved = sum(one["proved"] for one in tried)
    assert f"{alone} of the {len(records)} statements compile with the package `coq` alone" in page
    assert f"of {len(tried)} that were tried {proved} are proved" in page
    compiled = sum(one["compiles"] for one in records)
    assert re.search(rf"with `libcoq-coquelicot` {compiled}\b", page)


@pytest.mark.skipif(ROCQ.missing() is not None or protection().kind != "bubblewrap", reason="needs Rocq and bubblewrap")
def test_statements_compile_as_is_recorded(data_dir, records):
    found = {one["name"]: one for one in records if not one["error"]}
    lines = (data_dir / "minif2f_rocq" / "valid.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["name"] in found][::60]
    assert len(rows) >= 3
    for row in rows:
        assert ROCQ.open(row["statement"], AssistantLimits(120)).kind == "open"
