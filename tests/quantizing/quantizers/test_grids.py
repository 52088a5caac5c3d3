"""Grids are those of their sources, and every spec can be held by a kernel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.numerics.grids import FP4_SIZES, GRIDS, NumberGrid
from intact.numerics.integers import from_bytes, to_bytes
from intact.numerics.weights import centred, values
from intact.quantizing.quantizers import ALIASES, QUANTIZERS, parse_spec
from intact.quantizing.quantizers.block_types import BLOCK_TYPES
from intact.quantizing.quantizers.fixed import fix_rows, nearest

E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]  # OCP Microscaling 1.0, table 5
E2M3 = [m / 8 for m in range(8)] + [(1 + m / 8) * 2**e for e in range(3) for m in range(8)]  # table 4, bias 1
E3M2 = [m / 16 for m in range(4)] + [(1 + m / 4) * 2.0**e for e in range(-2, 5) for m in range(4)]  # table 3, bias 3
E2M5 = [m / 32 for m in range(32)] + [(1 + m / 32) * 2.0**e for e in range(3) for m in range(32)]  # as E2M3
E3M4 = [m / 64 for m in range(16)] + [(1 + m / 16) * 2.0**e for e in range(-2, 5) for m in range(16)]  # as E3M2
E3M0 = [0, *(2.0**e for e in range(-2, 5))]
NF4 = [  # arXiv 2305.14314, appendix E
    -1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("e2m1", E2M1), ("e2m3", E2M3), ("e3m2", E3M2), ("e2m5", E2M5), ("e3m4", E3M4), ("e3m0", E3M0)],
)
def test_small_floats_are_those_of_the_standard(name: str, sizes: list[float]) -> None:
    step = min(size for size in sizes if size)
    wanted = sorted({size / step for size in sizes} | {-size / step for size in sizes})
    assert list(GRIDS[name].levels) == wanted


def test_nf4_is_rounded_to_127ths() -> None:
    assert np.abs(np.array(GRIDS["nf4"].levels) / 127 - NF4).max() <= 0.5 / 127


def test_fp4_is_that_of_bitsandbytes() -> None:
    """The library's table by code, in twelfths of the largest value; 1/192 alone is no multiple of 1/120."""
    sizes = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3]) / 12
    assert np.abs(np.array(FP4_SIZES) / 120 - sizes).max() == pytest.approx(1 / 120 - 1 / 192)
    assert GRIDS["fp4"].levels == tuple(sorted({*FP4_SIZES} | {-size for size in FP4_SIZES}))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_dense_shift_has_powers_of_two_and_no_zero(bits: int) -> None:
    """w = +-2^p for p from 0 to 2^(bits - 1) - 1; both 128s do not fit a byte."""
    wanted = {sign * min(2**p, 127) for p in range(2 ** (bits - 1)) for sign in (-1, 1)}
    assert GRIDS[f"shift{bits}"].levels == tuple(sorted(wanted))
    assert len(wanted) == 2**bits


@pytest.mark.parametrize(("name", "exponent"), [(f"nupes4a{t}", t / 10) for t in (3, 4, 6, 7, 8, 9)])
def test_nupes_has_the_powers_of_whole_numbers(name: str, exponent: float) -> None:
    wanted = {int(np.floor(127 * (q / 7) ** (1 / exponent) + 0.5)) for q in range(8)}
    assert GRIDS[name].levels == tuple(sorted(wanted | {-size for size in wanted}))
    assert len(GRIDS[name].levels) == (13 if exponent == 0.3 else 15)


def test_nupes_of_one_half_has_the_squares() -> None:
    assert GRIDS["nupes4"].levels == tuple(q * abs(q) for q in range(-7, 8))


@pytest.mark.parametrize(("name", "stored"), [
    ("shift2", 2.5), ("shift2-16", 3), ("shift3", 3.5), ("lloyd3-16", 4), ("shift4", 4.5), ("int3-32", 3.5),
    ("int4-16", 5), ("nvfp4", 5), ("nvint4", 5), ("int6-32", 6.5), ("int6-16", 7), ("mxfp6", 6.5), ("mxfp6e3m2", 6.5),
    ("e3m2-16", 7), ("e2m5", 8.5), ("e3m4", 8.5),
])  # fmt: skip
def test_levels_take_the_bits_that_tell_them_apart(name: str, stored: float) -> None:
    assert parse_spec(name).stored_bits() == stored


def test_padded_rows_take_a_layout_with_a_zero() -> None:
    """Four levels without zero fill two bits; where rows are padded they take three."""
    spec = parse_spec("shift2")
    assert (spec.layout(64).bits, spec.layout(40).bits) == (2, 3)
    weight = QUANTIZERS["nearest"](np.ones((2, 40), np.float32), parse_spec("shift2-32@largest"), None).weight
    assert np.array_equal(values(weight), np.ones((2, 40)))
    assert not centred(weight)[:, 40:].any()


@pytest.mark.parametrize("name", ["shift3", "shift4", "lloyd3", "lloyd4"])
def test_levels_without_zero_take_a_bit_more_in_padded_rows(name: str) -> None:
    """Rows are padded with zeros, for which such grids have no code among so few."""
    spec = parse_spec(name)
    assert spec.layout(40).bits == spec.layout(64).bits + 1
    weight = QUANTIZERS["nearest"](np.ones((2, 40), np.float32), spec, None).weight
    assert not centred(weight)[:, 40:].any()


def test_as_many_levels_as_codes_and_none_of_them_zero_need_whole_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRIDS, "odd", NumberGrid("odd", tuple(range(-255, 256, 2)), "none"))
    with pytest.raises(ParameterError, match="has no level 0, so rows must have a multiple of 32 values, got 40"):
        QUANTIZERS["nearest"](np.ones((2, 40), np.float32), parse_spec("odd"), None)


ONE_PLANE = [name for name, grid in GRIDS.items() if grid.planes == 1]


@pytest.mark.parametrize("name", [*ONE_PLANE, *(name for name in ALIASES if name not in BLOCK_TYPES)])
def test_every_grid_is_held_and_each_value_goes_to_the_nearest_level(name: str) -> None:
    spec = parse_spec(name)
    matrix = np.random.default_rng(3).standard_normal((5, 2 * max(spec.block, 32))).astype(np.float32)
    weight = QUANTIZERS["nearest"](matrix, spec, None).weight
    again = from_bytes(to_bytes(weight))
    assert np.array_equal(values(again), values(weight))
    blocks = matrix.reshape(5, -1, spec.block).astype(np.float64)
    got = values(weight).reshape(blocks.shape)
    scale = np.repeat(np.ldexp(weight.scale.astype(float), weight.scale_exp[:, None]), weight.block, axis=1)
    scale = scale.reshape(blocks.shape)[..., :1]
    offset = 0.0
    if weight.minimum is not None and weight.minimum_exp is not None:
        low = np.ldexp(weight.minimum.astype(float), weight.minimum_exp[:, None])
        offset = np.repeat(low, weight.block, axis=1).reshape(blocks.shape)[..., :1]
    levels = np.array(spec.levels.levels) * scale[..., None] + np.asarray(offset)[..., None]
    best = np.abs(levels - blocks[..., None]).min(axis=-1)
    assert np.all(np.abs(got - blocks) <= best + np.abs(blocks).max() * 2.0**-22)


@given(
    x=st.lists(st.integers(-(1 << 22), 1 << 22), min_size=1, max_size=20),
    step=st.integers(-(1 << 22), 1 << 22).filter(bool),
    name=st.sampled_from(list(GRIDS)),
)
def test_nearest_is_the_least_distance(x: list[int], step: int, name: str) -> None:
    grid = GRIDS[name]
    got = nearest(np.array([x], np.float64), np.array([step], np.float64), grid)[0]
    for value, level in zip(x, got.tolist(), strict=True):
        best = min(abs(value - one * step) for one in grid.levels)
        assert abs(value - level * step) <= best + abs(step) * 2.0**-40


def test_fixed_rows_are_within_half_a_unit() -> None:
    matrix = (np.random.default_rng(1).standard_normal((4, 40)) * [[1e-9], [1], [3e7], [0]]).astype(np.float32)
    rows = fix_rows(matrix)
    assert rows.x.shape == (4, 64)
    assert np.abs(rows.x).max() <= 1 << 22
    unit = np.ldexp(1.0, rows.exponent - 22)[:, None]
    assert np.all(np.abs(rows.x[:, :40] * unit - matrix) <= unit / 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int9", "no grid named 'int9'"),
        ("best:int4", "no quantizer named 'best'"),
        ("int4@wild", "no rule named 'wild'"),
        ("int4-24", "multiple of 16"),
        ("int4-", "is not a spec"),
        ("int4-16", None),
        ("int8-16", "no kernel"),
        ("e4m3", "the grid e4m3 has several planes; use it with fp8"),
        ("gptq:mxfp8", "'gptq:mxfp8' is not a spec"),
        ("Q4_0", "'Q4_0' is not a spec: did you mean q4_0?"),
        ("Q4_K_M", "'Q4_K_M' is not a spec: did you mean q4_k?"),
        ("fp8:e4m3@search", "fp8 supports the rules largest, power, not search"),
        ("gptq:e5m2-32", r"e5m2 spans \+-3,758,096,384 of its smallest steps, .* at most 32,767"),
        ("", "is not a spec"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(text: str, message: str | None) -> None:
    if message is None:
        assert parse_spec(text).block == 16
        return
    with pytest.raises(ParameterError, match=message):
        parse_spec(text)
