"""NUPES: the exponent is that of the least error, computed in floats."""

import numpy as np
import pytest
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.grids import GRIDS
from intact.numerics.weights import values
from intact.quantizing.quantizers import QUANTIZERS, parse_spec
from intact.quantizing.quantizers.nupes import EXPONENTS


def error(weight: object, matrix: NDArray[np.float32]) -> float:
    return float(((values(weight) - matrix.astype(float)) ** 2).sum())


def chosen_error(matrix: NDArray[np.float32], text: str) -> float:
    return error(QUANTIZERS["nupes"](matrix, parse_spec(text), None).weight, matrix)


@pytest.mark.parametrize("block", ["32", "row"])
@pytest.mark.parametrize("power", [0.6, 1.0, 2.5])
def test_the_exponent_is_that_of_the_least_error(power: float, block: str) -> None:
    draw = np.random.default_rng(8)
    matrix = draw.standard_normal((12, 256))
    matrix = (np.sign(matrix) * np.abs(matrix) ** power * np.exp2(draw.integers(-20, 3, (12, 1)))).astype(np.float32)
    each = {
        grid: error(QUANTIZERS["nearest"](matrix, parse_spec(f"{grid}-{block}"), None).weight, matrix)
        for grid in EXPONENTS.values()
    }
    assert chosen_error(matrix, f"nupes:nupes4-{block}") == pytest.approx(min(each.values()), rel=1e-4)


def test_longer_blocks_want_a_smaller_exponent() -> None:
    """The further out the largest value lies, the denser the levels about 0 have to be."""
    gaussian = np.random.default_rng(9).standard_normal((16, 1024)).astype(np.float32)

    def exponent(matrix: NDArray[np.float32], block: str) -> int:
        weight = QUANTIZERS["nupes"](matrix, parse_spec(f"nupes:nupes4-{block}@largest"), None).weight
        if weight.table is None:
            return 10
        first = min(int(v) - weight.zero for v in weight.table if v > weight.zero)
        return next(t for t, grid in EXPONENTS.items() if min(v for v in GRIDS[grid].levels if v > 0) == first)

    assert exponent(gaussian, "row") < exponent(gaussian, "32")


def test_other_grids_are_refused() -> None:
    with pytest.raises(ParameterError, match="nupes supports the grids nupes4, not int4"):
        parse_spec("nupes:int4")
