"""benchmarks/shown_tests.py: which tests a program passes, and what follows from showing some of them."""

import pytest

from support.modules import ROOT, load

CHECK = "METADATA = {}\n\ndef check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 4\n"


@pytest.fixture
def shown(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return load("benchmarks/shown_tests.py")


def test_plain_lists_of_assertions_alone_are_split(shown):
    assert shown.assertions(CHECK) == ["assert candidate(1) == 2", "assert candidate(2) == 4"]
    assert shown.assertions("def check(candidate):\n    for i in range(9):\n        assert candidate(i)\n") is None


def test_each_test_of_a_program_counts_by_itself(shown):
    tests = shown.assertions(CHECK)
    assert shown.passes("def f(x):\n    return 2 * x\n", "f", tests) == [True, True]
    assert shown.passes("def f(x):\n    return x + 1\n", "f", tests) == [True, False]
    assert shown.passes("def f(x):\n    return 4 if x == 2 else 1 / 0\n", "f", tests) == [False, True]
    assert shown.passes("def f(x):\n    while x == 1:\n        pass\n    return 4\n", "f", tests) == [False, False]
    assert shown.passes("def f(x) return", "f", tests) == [False, False]


def test_more_shown_tests_let_fewer_wrong_programs_pass(shown):
    right, wrong = [True] * 6, [True, False, True, False, True, False]
    table = shown.table({str(i): [right] * (i % 4) + [wrong] * (4 - i % 4) for i in range(40)}).splitlines()
    assert [line.split("|")[3].strip().partition(" ")[0] for line in table[2:]] == ["100.0%", "0.0%", "0.0%", "0.0%"]
