"""PTQTP with tied scales against the alternation in floats, and what holds of its error."""

from itertools import product

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.numerics.grids import GRIDS
from intact.numerics.weights import centred, values
from intact.quantizing.quantizers import QUANTIZERS, parse_spec
from intact.quantizing.quantizers.fixed import fix_rows
from intact.quantizing.quantizers.ptqtp import alternate

PAIRS = np.array([(t1, t2) for t1, t2 in product((-1, 0, 1), repeat=2)], float)


def planes(w: np.ndarray) -> float:
    """Return the scale of one block by the paper's alternation: of each weight the best of the nine pairs of trits."""
    trits = np.sign(w)[:, None] * np.ones(2)
    scale = 0.0
    for _ in range(50):
        v = trits @ [3.0, 1.0]
        scale = float(w @ v / (v @ v))
        distance = np.abs(w[:, None] - scale * (PAIRS @ [3.0, 1.0]))
        trits, before = PAIRS[distance.argmin(axis=1)], trits
        if np.array_equal(trits, before):
            break
    return scale


def test_scales_are_those_of_the_alternation_over_pairs_of_trits() -> None:
    rows = fix_rows(np.random.default_rng(3).standard_normal((6, 256)).astype(np.float32))
    x = rows.blocks(128).x
    steps = alternate(x, GRIDS["trits2"])
    for row, block in product(range(6), range(2)):
        assert steps[row, block] == pytest.approx(planes(x[row, block]), rel=1e-12)


def test_every_level_is_a_pair_of_trits() -> None:
    assert sorted(PAIRS @ [3, 1]) == list(GRIDS["trits2"].levels)
    matrix = np.random.default_rng(4).standard_normal((5, 256)).astype(np.float32)
    weight = QUANTIZERS["ptqtp"](matrix, parse_spec("ptqtp:trits2"), None).weight
    assert set(np.unique(centred(weight))) == set(GRIDS["trits2"].levels)


def test_two_planes_err_less_than_one_and_than_three_bits() -> None:
    """Gaussian weights: 0.44 for one plane, 0.175 for nine even levels, relative to their standard deviation."""
    matrix = np.random.default_rng(5).standard_normal((32, 512)).astype(np.float32)

    def error(text: str) -> float:
        spec = parse_spec(text)
        got = values(QUANTIZERS[spec.quantizer](matrix, spec, None).weight)
        return float(np.sqrt(np.mean((got - matrix) ** 2)))

    assert error("ptqtp:trits2") == pytest.approx(0.175, abs=0.006)
    assert error("ptqtp:trits2") < error("int3s-128") < error("ternary-128") == pytest.approx(0.44, abs=0.01)


def test_zeros_stay_zeros() -> None:
    matrix = np.zeros((3, 256), np.float32)
    matrix[1, 130:200] = 0.5
    got = values(QUANTIZERS["ptqtp"](matrix, parse_spec("ptqtp:trits2"), None).weight)
    assert np.all(got[matrix == 0] == 0)
    assert np.allclose(got, matrix, rtol=1e-4)


def test_other_grids_are_refused() -> None:
    with pytest.raises(ParameterError, match="ptqtp supports the grids trits, trits2, not int4"):
        parse_spec("ptqtp:int4-32")
