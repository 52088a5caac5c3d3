"""Lloyd-Max levels against the iteration that defines them, and their distortion."""

import math
from itertools import pairwise

import numpy as np
import pytest

from intact.numerics.grids import GRIDS
from intact.numerics.weights import values
from intact.quantizing.quantizers import QUANTIZERS, parse_spec

PUBLISHED = {2: 0.1175, 3: 0.0345, 4: 0.0095}  # snu-mllab/Q-Palette, assets/quant_err.pt: scalar, squared, relative


def density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def above(x: float) -> float:
    return math.erfc(x / math.sqrt(2)) / 2


def lloyd_max(bits: int) -> list[float]:
    """Return the positive levels: each the mean of N(0, 1) between the middles of its neighbours."""
    levels = [5 * (i + 0.5) / 2 ** (bits - 1) for i in range(2 ** (bits - 1))]
    for _ in range(5000):
        ends = [0.0, *((a + b) / 2 for a, b in pairwise(levels)), 40.0]
        levels = [(density(a) - density(b)) / (above(a) - above(b)) for a, b in pairwise(ends)]
    return levels


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_levels_are_those_of_the_iteration_rounded_to_127ths(bits: int) -> None:
    levels = lloyd_max(bits)
    wanted = [round(127 * level / levels[-1]) for level in levels]
    grid = GRIDS[f"lloyd{bits}"]
    assert grid.levels == (*(-level for level in reversed(wanted)), *wanted)
    assert grid.deviation == pytest.approx(127 / levels[-1], rel=1e-6)


@pytest.mark.parametrize("block", ["512", "row"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_distortion_on_gaussian_weights_is_the_published_one(bits: int, block: str) -> None:
    matrix = np.random.default_rng(bits).standard_normal((256, 4096)).astype(np.float32)
    weight = QUANTIZERS["lloyd"](matrix, parse_spec(f"lloyd:lloyd{bits}-{block}"), None).weight
    distortion = float(np.mean((values(weight) - matrix) ** 2) / np.mean(matrix**2))
    assert distortion == pytest.approx(PUBLISHED[bits], rel=0.02)


def test_scales_follow_the_deviation_of_each_block() -> None:
    sizes = np.exp2(np.arange(-3, 5))[:, None]
    matrix = (np.random.default_rng(1).standard_normal((1, 8, 64)) * sizes).reshape(1, 512).astype(np.float32)
    weight = QUANTIZERS["lloyd"](matrix, parse_spec("lloyd:lloyd4-64"), None).weight
    got = np.ldexp(weight.scale.astype(float), weight.scale_exp[:, None])[:, ::2]
    rms = np.sqrt(np.mean(matrix.astype(float).reshape(1, 8, 64) ** 2, axis=2))
    assert np.allclose(got * GRIDS["lloyd4"].deviation, rms, atol=rms.max() * 2.0**-15, rtol=0)


def test_padding_counts_for_nothing_and_zeros_stay_small() -> None:
    matrix = np.random.default_rng(2).standard_normal((3, 40)).astype(np.float32)
    matrix[1] = 0
    weight = QUANTIZERS["lloyd"](matrix, parse_spec("lloyd:lloyd2-32"), None).weight
    got = np.ldexp(weight.scale.astype(float), weight.scale_exp[:, None])[0]
    rms = np.sqrt(np.mean(matrix[0, 32:].astype(float) ** 2))
    assert got[1] * GRIDS["lloyd2"].deviation == pytest.approx(rms, rel=1e-3)
    assert np.abs(values(weight)[1]).max() < 1e-4
