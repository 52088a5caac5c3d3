"""Soft caps in integers against tanh (docs/spec/numerics.md, section 2)."""

from fractions import Fraction

import numpy as np
import pytest

from intact.numerics import fp32
from intact.numerics.soft_cap import make_soft_cap, score_cap, soft_cap


@pytest.mark.parametrize("cap", [Fraction(1), Fraction(5, 2), Fraction(30), Fraction(16384)])
def test_it_is_cap_times_tanh(cap):
    x = np.concatenate([np.linspace(-6, 6, 1001) * float(cap), [-32767.0, 32767.0, 0.0]])
    x = (np.clip(x, -32767, 32767) * 65536).astype(np.int64)
    expected = float(cap) * np.tanh(x / 65536 / float(cap))
    assert np.abs(soft_cap(x, make_soft_cap(cap)) / 65536 - expected).max() < 2**-15 + float(cap) * 2**-15
    floats = fp32.soft_cap((x / 65536).astype(np.float32), float(cap))
    assert np.abs(floats - expected).max() < float(cap) * 1e-6


def test_it_is_bounded_and_ascends():
    x = np.arange(-(1 << 31) + 1, 1 << 31, 1 << 20)
    y = soft_cap(x, make_soft_cap(Fraction(50)))
    assert np.abs(y).max() == 50 * 65536
    assert (np.diff(y) >= 0).all()


def test_scores_are_in_base_2():
    assert abs(score_cap(Fraction(50)).limit - 50 * 1.4426950408889634 * 65536) < 1


@pytest.mark.parametrize("cap", [Fraction(1, 2), Fraction(16385)])
def test_a_cap_out_of_range(cap):
    with pytest.raises(ValueError, match="1 to 16,384"):
        make_soft_cap(cap)
