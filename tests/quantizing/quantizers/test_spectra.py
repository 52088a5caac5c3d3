"""Spectra's ternary weights against the formula in float64."""

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.numerics.weights import centred, values
from intact.quantizing.quantizers import QUANTIZERS, parse_spec

SPEC = parse_spec("spectra:ternary")


@pytest.mark.parametrize("size", [1.0, 3e-4, 700.0])
def test_codes_and_scale_are_those_of_the_formula(size: float) -> None:
    draw = np.random.default_rng(12)
    matrix = draw.standard_normal((20, 192)) * np.exp2(draw.integers(-3, 3, (20, 1))) * size
    matrix = matrix.astype(np.float32)
    weight = QUANTIZERS["spectra"](matrix, SPEC, None).weight
    gamma = 1e-5 + np.abs(matrix.astype(float)).mean()
    expected = np.round(np.clip(matrix / gamma, -1, 1))
    assert np.mean(centred(weight)[:, :192] == expected) > 0.999  # values are rounded to 22 bits before
    scales = np.ldexp(weight.scale.astype(float), weight.scale_exp[:, None])
    assert len(np.unique(scales)) == 1
    assert scales[0, 0] == pytest.approx(gamma, rel=2.0**-15)
    assert set(np.unique(np.abs(values(weight)))) == {0, scales[0, 0]}


def test_a_row_of_zeros_and_a_matrix_of_zeros() -> None:
    matrix = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    matrix[2] = 0
    for given in (matrix, np.zeros_like(matrix)):
        got = values(QUANTIZERS["spectra"](given, SPEC, None).weight)
        assert np.all(got[2] == 0)


def test_released_weights_stay_by_the_rule_largest() -> None:
    """TriLM's files hold {-s, 0, s} in float16: their mean size is no longer gamma, so that nearest takes them."""
    released = np.random.default_rng(2).integers(-1, 2, (8, 128)).astype(np.float32) * np.float32(np.float16(0.0173))
    assert np.array_equal(values(QUANTIZERS["nearest"](released, parse_spec("ternary@largest"), None).weight), released)


def test_other_grids_are_refused() -> None:
    with pytest.raises(ParameterError, match="spectra supports the grids ternary, not int2"):
        parse_spec("spectra:int2")
