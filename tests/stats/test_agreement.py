"""Agreement of two raters, against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.stats.agreement import agreement

LABELS = st.sampled_from("abc")


def test_the_example_of_cohen_has_his_kappa():
    first = ["a"] * 25 + ["a"] * 10 + ["b"] * 15 + ["b"] * 0
    second = ["a"] * 25 + ["b"] * 10 + ["a"] * 15 + ["b"] * 0
    found = agreement(first, second)
    assert found.table == ((25, 10), (15, 0))
    assert found.share == 0.5
    assert found.kappa == pytest.approx((0.5 - 0.62) / (1 - 0.62))


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30))
def test_it_is_symmetric_and_kappa_is_the_avoided_share_of_expected_disagreement(pairs):
    first, second = map(list, zip(*pairs, strict=True))
    found, other = agreement(first, second, "abc"), agreement(second, first, "abc")
    assert (found.share, found.low, found.high, found.kappa) == (other.share, other.low, other.high, other.kappa)
    assert found.table == tuple(zip(*other.table, strict=True))
    assert found.low <= found.share <= found.high
    apart = sum(one != two for one, two in pairs) / len(pairs)
    expected = sum(one != two for one in first for two in second) / len(pairs) ** 2
    assert found.share == pytest.approx(1 - apart)
    assert (found.kappa is None) == (expected == 0)
    assert found.kappa is None or found.kappa == pytest.approx(1 - apart / expected)


def test_raters_who_always_say_the_same_have_no_kappa():
    assert agreement(["a"], ["a"]).kappa is None
    with pytest.raises(ParameterError, match="labels of the same items, got 1 and 2"):
        agreement(["a"], ["a", "b"])
    with pytest.raises(ParameterError, match="got 0 and 0"):
        agreement([], [])
