"""``intact selftest`` prints what the conformance suite computes."""

import sys
from types import SimpleNamespace

import pytest

DIGESTS = {"operations": "ab" * 32, "tokens": "cd" * 32}


@pytest.fixture(autouse=True)
def conformance(monkeypatch):
    monkeypatch.setitem(sys.modules, "intact.conformance", SimpleNamespace(selftest=lambda: DIGESTS))


def test_digests_are_printed_whole(intact_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert intact_command("selftest").out.splitlines() == [f"operations  {'ab' * 32}", f"tokens      {'cd' * 32}"]


def test_json(intact_command):
    assert intact_command("selftest", "--json").json == DIGESTS
