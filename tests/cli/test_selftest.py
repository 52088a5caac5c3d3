"""``intact selftest`` prints what the conformance suite computes, and says whether it is right."""

import sys
from types import SimpleNamespace

import pytest

DIGESTS = {"operations": "ab" * 32, "tokens": "cd" * 32}


@pytest.fixture
def computed(monkeypatch):
    """The digests that the suite computes; a test may change them."""
    found = dict(DIGESTS)
    stand_in = SimpleNamespace(EXPECTED=DIGESTS, selftest=lambda: found)
    monkeypatch.setitem(sys.modules, "intact.measure.conformance", stand_in)
    return found


@pytest.mark.usefixtures("computed")
def test_digests_are_printed_whole(intact_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = intact_command("selftest").out.splitlines()
    assert lines == [f"operations  {'ab' * 32}  as documented", f"tokens      {'cd' * 32}  as documented"]


@pytest.mark.usefixtures("computed")
def test_json(intact_command):
    assert intact_command("selftest", "--json").json == DIGESTS | {"as_documented": True}


def test_a_wrong_digest_is_named_and_fails(intact_command, computed):
    computed["tokens"] = "ef" * 32
    result = intact_command("selftest")
    assert result.code == 1
    assert f"tokens      {'ef' * 32}  WRONG: should be {'cd' * 32}" in result.out
    assert intact_command("selftest", "--json").json["as_documented"] is False


def test_without_the_model_the_rest_is_computed(intact_command, computed):
    del computed["tokens"]
    assert intact_command("selftest").out.splitlines()[1] == "tokens      needs the default model: intact pull"
