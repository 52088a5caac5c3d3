"""Rotary frequencies: exact fractions of a turn, stretched as published."""

import math

import numpy as np
import pytest

from intact._base.errors import ModelError
from intact.numerics.rope import rotation


def radians(turns):
    return turns.astype(np.float64) / 2.0**64 * 2 * math.pi


def plain(base, width):
    return base ** (-2 * np.arange(width // 2) / width)


@pytest.mark.parametrize(("base", "width"), [(10000.0, 64), (100000.0, 24), (1e6, 128), (500000.0, 2), (1.0, 8)])
def test_frequencies_are_powers_of_the_base(base, width):
    np.testing.assert_allclose(radians(rotation(base, width, {})), plain(base, width), rtol=1e-14, atol=4e-19)


def test_linear_scaling_divides():
    found = radians(rotation(1e6, 64, {"type": "linear", "factor": 8.0}))
    np.testing.assert_allclose(found, plain(1e6, 64) / 8, rtol=1e-14, atol=4e-19)


def test_llama3_scaling_blends():
    """Transformers' formula, in floats."""
    factor, low, high, original = 8.0, 1.0, 4.0, 8192
    kept = plain(500000.0, 128)
    wave = 2 * math.pi / kept
    smooth = (original / wave - low) / (high - low)
    blended = (1 - smooth) * kept / factor + smooth * kept
    expected = np.where(wave > original / low, kept / factor, np.where(wave < original / high, kept, blended))
    scaling = {
        "type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original": original,
    }
    found = radians(rotation(500000.0, 128, scaling | {"original": original}))
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=4e-19)
    assert len(np.unique(np.round(found / kept, 6))) > 4  # kept, divided, and some between


def test_listed_divisors_divide():
    divisors = np.linspace(1, 9, 32, dtype=np.float32)
    found = radians(rotation(10000.0, 64, {}, divisors))
    np.testing.assert_allclose(found, plain(10000.0, 64) / divisors, rtol=1e-14, atol=4e-19)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"type": "ntk", "factor": 2.0}, "'ntk' is not supported; expected "),
        ({"type": "yarn", "factor": 2.0}, "original must be a positive number, found None"),
        ({"type": "linear"}, "factor must be a positive number, found None"),
        ({"type": "linear", "factor": 0}, "factor must be a positive number, found 0"),
        ({"type": "linear", "factor": "8"}, "factor must be a positive number, found '8'"),
        ({"type": "linear", "factor": float("nan")}, "factor must be a positive number, found nan"),
        ({"type": "llama3", "factor": 8.0}, "original must be a positive number"),
        ({"type": "llama3", "factor": 8.0, "original": 9, "low_freq_factor": 4.0}, "less than high_freq_factor"),
    ],
)
def test_a_scaling_that_makes_no_sense_is_refused(scaling, message):
    with pytest.raises(ModelError, match=message):
        rotation(10000.0, 64, scaling)


@pytest.mark.parametrize("divisors", [[1.0] * 31, [0.0] * 32, [math.nan] * 32, [math.inf] * 32, [-1.0] * 32])
def test_divisors_that_make_no_sense_are_refused(divisors):
    with pytest.raises(ModelError, match=r"rope_freqs\.weight or longrope's factors: expected 32 positive numbers"):
        rotation(10000.0, 64, {}, np.array(divisors, np.float32))
