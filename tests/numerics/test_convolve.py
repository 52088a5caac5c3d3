"""Gated short convolutions in integers, against floats and by hand (docs/spec/numerics.md, section 8)."""

import numpy as np
import pytest

from intact.numerics import fp32
from intact.numerics.convolve import CODE_LIMIT, convolution_rows, convolve, integer_taps

ONE = 1 << 16
LIMIT = (1 << 31) - 1


def whole(parts: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The results of a text whose rows are B, C and x in Q16, position by position."""
    before, gate, x = np.split(parts, 3, axis=1)
    rows, taps = convolution_rows(before, x), integer_taps(weight)
    out = []
    for m in range(len(parts)):
        seen = range(m, max(-1, m - taps.shape[1]), -1)
        out.append(convolve([(rows.codes[i], int(rows.exponent[i])) for i in seen], taps, gate[m]))
    return np.array(out)


@pytest.mark.parametrize("taps", [1, 2, 3, 4])
def test_it_is_the_convolution_of_floats(taps: int) -> None:
    rng = np.random.default_rng(taps)
    parts, weight = rng.normal(0, 1.5, (20, 3 * 24)), rng.normal(0, 1, (24, taps)).astype(np.float32)
    found = whole((parts * ONE).astype(np.int64), weight) / (1 << 20)
    before, gate, x = np.split(parts, 3, axis=1)
    padded = np.concatenate([np.zeros((taps - 1, 24)), before * x])
    expected = gate * sum(padded[j : j + 20] * weight[:, j].astype(float) for j in range(taps))
    assert np.abs(found - expected).max() < 4e-4 * np.abs(expected).max()
    floats = fp32.convolve(parts.astype(np.float32), weight)
    assert np.abs(floats - expected).max() < 1e-6 * np.abs(expected).max()


def test_the_first_positions_see_nothing_before_the_text() -> None:
    parts = np.full((3, 3), ONE)
    weight = np.array([[0.25, 0.5, 4.0]], np.float32)
    assert whole(parts, weight).ravel().tolist() == [4 << 20, 9 << 19, 19 << 18]


def test_small_rows_are_kept_exactly_and_large_ones_to_15_bits() -> None:
    gate = np.array([[ONE, ONE, ONE], [ONE, ONE, ONE], [LIMIT, LIMIT, 1]])
    x = np.array([[CODE_LIMIT, -5, 0], [CODE_LIMIT + 1, 3, -3], [LIMIT, -LIMIT, 1]])
    rows = convolution_rows(gate, x)
    assert rows.exponent.tolist() == [0, 1, 16]
    assert rows.codes.tolist() == [[CODE_LIMIT, -5, 0], [1 << 14, 2, -1], [CODE_LIMIT, -CODE_LIMIT, 0]]


def test_a_row_of_zeros() -> None:
    rows = convolution_rows(np.zeros((1, 2), np.int64), np.ones((1, 2), np.int64))
    assert (rows.codes.tolist(), rows.exponent.tolist()) == ([[0, 0]], [0])


def test_sums_at_their_bound_saturate() -> None:
    codes, weight = np.array([CODE_LIMIT, -CODE_LIMIT]), np.full((2, 4), 255.9999, np.float32)
    found = convolve([(codes, 16)] * 4, integer_taps(weight), np.array([LIMIT, LIMIT]))
    assert found.tolist() == [(LIMIT * LIMIT + (1 << 11)) >> 12, (-LIMIT * LIMIT + (1 << 11)) >> 12]


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        (np.zeros((3, 5), np.float32), r"1 to 4 weights a channel, found shape \(3, 5\)"),
        (np.zeros(3, np.float32), "1 to 4 weights a channel"),
        (np.array([[0.0, -256.0]], np.float32), "weights of 256 and more do not fit"),
    ],
)
def test_weights_that_do_not_fit(weight: np.ndarray, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        integer_taps(weight)
