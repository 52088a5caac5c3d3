"""benchmarks/early_exits.py: shares of certain tokens, of the model's own among them, and of those that stay."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("early_exits")
    for name in ("early_exits", "draft_requests", "common"):
        sys.modules.pop(name, None)


def answer(certain: str, right: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one == "1" for one in certain]), np.array([one == "1" for one in right])


def test_shares_by_hand(exits):
    found = exits.weigh_exit([answer("1101", "1011"), answer("000011", "111111")])
    assert found == (5 / 10, 4 / 5, 1 / 2, 3 / 10)


def test_an_exit_that_is_never_certain_changes_and_saves_nothing(exits):
    assert exits.weigh_exit([answer("000", "010")]) == (0, 1, 1, 0)


def test_one_that_always_is_never_leaves_the_edge(exits):
    assert exits.weigh_exit([answer("11", "11"), answer("1", "0")]) == (1, 2 / 3, 1 / 2, 1)
