"""benchmarks/stopping.py: where the rule ends a text, the cap that saves as much, and what both cost."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
NAT = 1 << 24


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("stopping")
    for name in ("stopping", "published"):
        sys.modules.pop(name, None)


def text(stopping, nats: list[float], needs: int = 0):
    """A text that is right from `needs` tokens on; never, if that is more than it has."""
    return stopping.RecordedText([round(-NAT * one) for one in nats], lambda count: count >= needs)


def test_a_text_is_kept_up_to_the_first_window_below_the_bound(stopping):
    one = text(stopping, [9, 0, 1, 3, 3, 3, 0])
    kept = {(window, bound): stopping.kept_by_rule(one, window, bound)
            for window in (1, 2, 3) for bound in (-8.0, -4.0, -2.5, -2.0)}  # fmt: skip
    assert kept == {
        (1, -8.0): 1, (1, -4.0): 1, (1, -2.5): 1, (1, -2.0): 1,
        (2, -8.0): 7, (2, -4.0): 2, (2, -2.5): 2, (2, -2.0): 2,
        (3, -8.0): 7, (3, -4.0): 7, (3, -2.5): 3, (3, -2.0): 3,
    }  # fmt: skip
    assert stopping.kept_by_rule(text(stopping, [0, 0, 9]), 1, -1.0) == 3  # nothing is saved at the last token


def test_the_cap_is_the_largest_that_saves_as_much(stopping):
    problems = [[text(stopping, [1] * 5), text(stopping, [1] * 9)], [text(stopping, [1] * 2)]]
    assert [stopping.cap_that_saves(problems, saved) for saved in (0, 1, 4, 5, 6, 9, 16)] == [9, 8, 5, 4, 4, 2, 0]


def test_what_is_lost_and_saved_by_hand(stopping):
    problems = [
        [text(stopping, [1] * 4, 2), text(stopping, [1] * 6, 6)],  # right after two tokens; at its end alone
        [text(stopping, [1] * 10, 99), text(stopping, [1] * 10, 10)],
    ]
    found = stopping.effect(problems, [[3, 5], [5, 10]])
    assert found.ended.estimate == pytest.approx(3 / 4)
    assert found.saved.estimate == pytest.approx(7 / 30)
    assert found.lost.estimate == pytest.approx(1 / 3)
    assert found.hopeful.estimate == pytest.approx(2 / 3)
