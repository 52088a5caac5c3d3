"""Receipts with a journal: what it knows makes them faster, and nothing of it is believed."""

import json
import sqlite3
import zlib

import pytest

import intact
from intact.reason.driving.journal import CHECK, Journal, _check
from intact.solving.receipts.verify import verify_run
from intact.solving.run import JOURNAL
from support.journals import unfinished
from support.tiny import write_tiny

ASKED = {
    "self_consistency": {"n": 5, "max_tokens": 40},
    "beam_search": {"width": 2, "n": 4, "steps": 3, "delimiter": "e", "max_tokens": 30},
    "short_m_at_k": {"k": 4, "m": 2, "stop": ("e",), "max_tokens": 60},
    "deepconf": {"n": 2, "top": 3, "max_tokens": 20},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("models") / "m.gguf", context=512), drafter="off", threads=1)


def solve(model, name, **more):
    return intact.solve(model, name, "What is 2 + 2?", temperature=1.0, **ASKED[name], **more)


def steps(model, run):
    before = model.engine.counters.steps
    result = run()
    return result, model.engine.counters.steps - before


@pytest.mark.parametrize("name", ASKED)
def test_a_journal_changes_no_byte(model, name, tmp_path):
    receipt, written = steps(model, lambda: solve(model, name, receipt=True).receipt)
    plain = solve(model, name, journal=tmp_path)
    again, read = steps(model, lambda: solve(model, name, journal=tmp_path, receipt=True))
    assert again.receipt.encode() == receipt.encode()
    assert again.cost._replace(seconds=0) == plain.cost._replace(seconds=0)
    if name not in ("short_m_at_k",):  # whose runners move token by token
        assert read < written / 2
    assert verify_run(model, again.receipt).outcome == "true"
    assert solve(model, name, journal=tmp_path).answer == plain.answer


def test_half_a_journal_is_as_good(model, tmp_path):
    solve(model, "self_consistency", journal=tmp_path)
    more = {"n": 7, "max_tokens": 40, "temperature": 1.0, "receipt": True}
    result = intact.solve(model, "self_consistency", "What is 2 + 2?", journal=tmp_path, **more)
    alone = intact.solve(model, "self_consistency", "What is 2 + 2?", **more)
    assert result.receipt.encode() == alone.receipt.encode()


def test_a_journal_that_lies_is_not_believed(model, tmp_path):
    """Every text of it says something else: the receipt is that of the truth, and the journal is put right."""
    truth = solve(model, "self_consistency", receipt=True).receipt
    solve(model, "self_consistency", journal=tmp_path)
    with sqlite3.connect(tmp_path / JOURNAL) as database:
        for key, value in list(database.execute("SELECT key, value FROM entries WHERE value IS NOT NULL")):
            ((text, tokens, *rest),) = json.loads(zlib.decompress(value[CHECK:]))
            lie = zlib.compress(json.dumps([[text, [5] * len(tokens), *rest]]).encode())
            database.execute("UPDATE entries SET value = ? WHERE key = ?", (_check(key, lie) + lie, key))
    database.close()
    assert solve(model, "self_consistency", journal=tmp_path).trace["nodes"][0]["tokens"]
    assert solve(model, "self_consistency", journal=tmp_path, receipt=True).receipt == truth
    with Journal(tmp_path / JOURNAL) as journal:
        assert unfinished(journal) == 0
    healed = solve(model, "self_consistency", journal=tmp_path)
    assert healed.answer.chosen.tokens in {entry.output.tokens for entry in truth.entries}
