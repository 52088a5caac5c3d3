"""Columns of wide rows times a number, against Python's integers (docs/spec/numerics.md, section 9)."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics.fixed import LIMIT
from intact.numerics.multiply import multiply, row_multiplier

MOST = 1 << 46
NUMBERS = st.integers(-(1 << 30) + 1, (1 << 30) - 1)


@given(st.lists(st.integers(-(1 << 62), 1 << 62), min_size=1), NUMBERS)
def test_products_are_rounded_once(x: list[int], m: int) -> None:
    clipped = [min(max(v, -MOST), MOST) for v in x]
    assert multiply(np.array(x), m, True).tolist() == [(v * m + (1 << 23)) >> 24 for v in clipped]
    narrow = [min(max((v * m + (1 << 27)) >> 28, -LIMIT), LIMIT) for v in clipped]
    assert multiply(np.array(x), m, False).tolist() == narrow


def test_numbers_are_rounded_half_up_and_bounded() -> None:
    assert row_multiplier(Fraction(1)) == 1 << 24
    assert [row_multiplier(Fraction(n, 1 << 25)) for n in (1, -1, 3)] == [1, 0, 2]
    for number in (64, -64, Fraction(1000, 3)):
        with pytest.raises(ValueError, match="numbers between -64 and 64, not"):
            row_multiplier(Fraction(number))
