"""benchmarks/agent_load.py: loads are drawn from the seed, changed answers are counted, runs go on where they were."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("agent_load")
    for name in ("agent_load", "agent_servers", "agent_strangers", "agent_worker", "common"):
        sys.modules.pop(name, None)


def exchange(request: str, text: str) -> dict:
    return {"path": "/v1/chat/completions", "request": request, "asked": request, "answer": {"content": text}}


def line(run: int, changed: int = 0, error: str = "", number: int = 0) -> dict:
    return {
        "side": "avx2",
        "run": run,
        "answers": 11,
        "changed": [{"test": "t"}] * changed,
        "failed": {},
        "errors": {"t": error} if error else {},
        "strangers_did": {"answered": run},
        "round": {"number": number},
    }


def test_a_load_is_a_function_of_the_seed_and_covers_its_range(load) -> None:
    rounds = [load.draw_round(3, "avx2", number, agents=4) for number in range(400)]
    assert rounds == [load.draw_round(3, "avx2", number, agents=4) for number in range(400)]
    assert {one.strangers for one in rounds} == set(range(32))
    assert {one.together for one in rounds} == {1, 2, 3, 4}
    assert {(one.restart, one.threads, one.cache) for one in rounds} == {
        (restart, threads, cache) for restart in (False, True) for threads in (1, 2) for cache in (False, True)
    }


def test_a_changed_answer_is_counted_once_and_not_again_in_what_follows_from_it(load) -> None:
    locked = {"t": [exchange("one", "a"), exchange("two", "b")], "u": [exchange("three", "c")]}
    assert load.changes(locked, locked) == []
    found = {"t": [exchange("one", "X"), exchange("other", "b")], "u": [exchange("three", "c")]}
    (change,) = load.changes(locked, found)
    assert (change["test"], change["locked"], change["now"]) == ("t", {"content": "a"}, {"content": "X"})


def test_a_request_that_the_lock_lacks_is_no_agreement(load) -> None:
    (change,) = load.changes({"t": [exchange("one", "a")]}, {"t": [exchange("other", "a")]})
    assert change["locked"] is None


def test_a_request_that_is_not_sent_is_no_agreement(load) -> None:
    (change,) = load.changes({"t": [exchange("one", "a"), exchange("two", "b")]}, {"t": [exchange("one", "a")]})
    assert (change["locked"], change["now"]) == (2, 1)


def test_runs_that_an_error_ended_are_done_again(load) -> None:
    lines = [{"side": "avx2", "alone": {}}, line(0), line(1, error="ConnectError"), line(2)]
    assert load.missing(lines, 5) == [1, 3, 4]
    assert load.row(lines)["runs that an error ended"] == 1


def test_the_bound_is_the_rule_of_three_without_changes_and_grows_with_them(load) -> None:
    assert load.upper_bound(0, 500) == pytest.approx(1 - 0.05 ** (1 / 500))
    assert load.upper_bound(0, 500) == pytest.approx(3 / 500, rel=0.01)
    assert load.upper_bound(0, 500) < load.upper_bound(1, 500) < load.upper_bound(500, 500) == 1


def test_the_table_counts_runs_answers_and_strangers(load, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line(0), line(5), line(2, changed=2, number=1)]
    load.show(lines, as_json=True)
    row = json.loads(capsys.readouterr().out)["sides"]["avx2"]
    assert (row["runs"], row["answers"], row["changed answers"], row["runs with a change"]) == (3, 33, 2, 1)
    assert row["strangers' answers"] == 5 + 2
