"""Outliers in 16 bits: which an index names, their codes, and the columns of a weight that multiply them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.executors.native import NativeExecutor
from intact.executors.outliers import with_outliers
from intact.measure.conformance.synthetic import outlier_cases
from intact.numerics.activations import SCHEMES, Quantized, quantize
from intact.numerics.outliers import outlier_blocks, with_rest
from intact.numerics.profiles import parse_profile
from intact.numerics.weights import InputIndex, from_floats, model_values
from support.examples import examples

OWN = [*range(30), -1, -1]
PAIR = [30, 31] + [-1] * 30


def values(a: Quantized) -> np.ndarray:
    return a.codes * np.repeat(a.scale.astype(float), 32, axis=1) * 2.0 ** a.exponent[:, None].astype(float)


@pytest.mark.parametrize(
    ("index", "blocks"),
    [
        (OWN + PAIR * 2, 1),
        ([-1] * 32 + PAIR * 2, 1),
        (OWN * 2 + PAIR * 2, 0),  # own inputs come twice
        (OWN + PAIR * 3, 0),
        (OWN + PAIR, 0),
        (PAIR * 2, 0),  # planes: nothing stands for itself
        (OWN + PAIR + PAIR[::-1], 0),
        (OWN[:-1] + PAIR * 2, 0),  # no whole blocks
        (OWN + ([30, 31, 30] + [-1] * 29) * 2, 0),
        ([*range(29), 30, -1, -1] + PAIR * 2, 0),  # an outlier is among the own
        (OWN + (PAIR + [32] + [-1] * 31) * 2, 2),
        (list(range(64)), 0),
    ],
)
def test_outliers_are_the_inputs_of_two_equal_parts_at_the_end(index: list[int], blocks: int) -> None:
    assert outlier_blocks(np.array(index, np.int32)) == blocks


@given(st.integers(1, 3), st.integers(1, 3), st.integers(10, 40), st.integers(0, 2**32))
@examples(60)
def test_outliers_have_16_bits_and_leave_the_scale_of_others(own: int, blocks: int, bits: int, seed: int) -> None:
    """Against values in float64: own inputs to half of their row's step, outliers to 2^-15 of their block's largest."""
    draw = np.random.default_rng(seed)
    x = np.rint(draw.normal(0, 2.0**bits, (3, 32 * own))).astype(np.int64)
    large = np.rint(draw.normal(0, 2.0 ** (bits + 5), (3, 32 * blocks))).astype(np.int64)
    a = quantize(np.concatenate([x, large, large, large], axis=1), 0, SCHEMES["llm_int8"], blocks)
    got = values(a)
    alone = np.split(got, [32 * own, 32 * (own + blocks), 32 * (own + 2 * blocks)], axis=1)
    unit = 2.0 ** a.exponent.astype(float)[:, None]  # to which inputs are rounded
    step = np.abs(x).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(alone[0] - x) <= step * 0.51 + unit)
    assert (a.scale[:, :own] == a.scale[:, :1]).all()
    assert np.array_equal(alone[1], alone[2])
    most = np.repeat(np.abs(large).reshape(3, blocks, 32).max(axis=2), 32, axis=1)
    assert np.all(np.abs(alone[1] + alone[3] - large) <= most * 2.0**-15 + unit)


def test_without_outliers_rows_are_those_of_int8_row() -> None:
    x = np.random.default_rng(1).integers(-(1 << 30), 1 << 30, (4, 100))
    for one, two in zip(quantize(x, 16, SCHEMES["llm_int8"]), quantize(x, 16, SCHEMES["int8_row"]), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("block", [32, 16])
def test_the_rest_is_multiplied_by_the_high_digits(block: int) -> None:
    draw = np.random.default_rng(2)
    index = np.array(OWN + PAIR * 2, np.int32)
    weight = from_floats(draw.standard_normal((5, 96)).astype(np.float32), 8)._replace(inputs=InputIndex(index, 32))
    if block == 16:
        minimum = draw.integers(1, 99, (5, 6)).astype(np.int16)
        scale = np.repeat(weight.scale, 2, axis=1)
        weight = weight._replace(block=16, scale=scale, minimum=minimum, minimum_exp=np.full(5, -9, np.int32))
    wider = with_rest(weight, 1)
    only = wider._replace(inputs=None)
    plain = weight._replace(inputs=None)
    assert wider.columns == 128
    assert np.array_equal(model_values(only)[:, :96], model_values(plain))
    assert np.array_equal(model_values(only)[:, 96:], model_values(plain)[:, 32:64])
    assert wider.inputs is not None
    assert wider.inputs.index.tolist() == [*index, *PAIR]


@pytest.mark.parametrize(("profile", "blocks"), [("llm_int8", -1), ("llm_int8", 2), ("llm_int8", 1 << 60), ("int4", 1)])
def test_the_extension_refuses_outliers_that_rows_do_not_end_in(
    profile: str, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows here are (own, A, A, A) of 96, 64, 64 and 64 columns: two blocks of own would have to be left."""
    case = next(outlier_cases())
    widened, _ = with_outliers(case.program, parse_profile("llm_int8"))
    counts = {"picked": blocks, "w": 2}
    monkeypatch.setattr("intact.executors.native.with_outliers", lambda program, parts: (widened, counts))
    if (profile, blocks) == ("llm_int8", 2):
        NativeExecutor(case.program, profile)
        counts["picked"] = 3  # leaves nothing of the others
    with pytest.raises(ValueError, match="outliers are whole blocks"):
        NativeExecutor(case.program, profile)
