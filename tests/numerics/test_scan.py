"""Mamba-2's state-space layer in integers, against floats and at its extremes (docs/spec/numerics.md, section 8)."""

import numpy as np
import pytest

from intact.numerics.convolve import ConvolutionRows, row_codes
from intact.numerics.scan import (
    BLOCK,
    STEP_LIMIT,
    RecurrentState,
    ScanRows,
    ScanShape,
    ScanWeights,
    convolved,
    end_block,
    scan_row,
    scan_rows,
    softplus,
    zero_state,
)

LIMIT = (1 << 31) - 1
SHAPE = ScanShape(heads=4, width=8, groups=2, states=16)


def weights(rng: np.random.Generator, shape: ScanShape, slowest: float = 0.01) -> ScanWeights:
    """Random parameters; heads forget at rates from `slowest` to 16."""
    rates = np.geomspace(slowest, 16, shape.heads)
    return ScanWeights(
        taps=rng.integers(-1 << 19, 1 << 19, (shape.channels, 4)),
        bias=rng.integers(-1 << 14, 1 << 14, shape.channels),
        step_bias=np.log(np.expm1(np.geomspace(0.1, 0.001, shape.heads))).__mul__(65536).round().astype(np.int64),
        rate=np.floor(rates / np.log(2) * 2**20 + 0.5).astype(np.int64),
        skip=rng.integers(-1 << 17, 1 << 17, shape.heads),
    )


def part(rows: ScanRows, first: int, end: int) -> ScanRows:
    """Some rows."""
    codes = (ConvolutionRows(r.codes[first:end], r.exponent[first:end]) for r in rows[:3])
    return ScanRows(*codes, rows.step[first:end])


def whole(rows: ScanRows, w: ScanWeights, shape: ScanShape) -> tuple[np.ndarray, list[RecurrentState]]:
    """The results of a text, position by position, and the states behind its blocks."""
    state, out, states = zero_state(shape), [], []
    for p in range(len(rows.step)):
        start = p // BLOCK * BLOCK
        out.append(scan_row(part(rows, start, p + 1), state, w, shape))
        if p % BLOCK == BLOCK - 1:
            state = end_block(part(rows, start, p + 1), state, w, shape)
            states.append(state)
    return np.array(out), states


def floats(mixed: np.ndarray, steps: np.ndarray, w: ScanWeights, shape: ScanShape) -> np.ndarray:
    """The recurrence of Mamba-2 in float64, token by token: S = e^(dt A) S + dt x B^T; y = S C + D x."""
    mixed, dt = mixed / 65536, np.log1p(np.exp((steps + w.step_bias) / 65536))
    decay = np.exp(-dt * w.rate / 2**20 * np.log(2))
    group, out = shape.heads // shape.groups, []
    state = np.zeros((shape.heads, shape.width, shape.states))
    x, b, c = np.split(mixed, [shape.inner, shape.inner + shape.groups * shape.states], axis=1)
    x = x.reshape(-1, shape.heads, shape.width)
    b, c = (np.repeat(part.reshape(-1, shape.groups, shape.states), group, axis=1) for part in (b, c))
    for p in range(len(mixed)):
        state = decay[p][:, None, None] * state + (dt[p][:, None] * x[p])[:, :, None] * b[p][:, None, :]
        out.append((state @ c[p][:, :, None])[..., 0] + w.skip[:, None] / 65536 * x[p])
    return np.array(out).reshape(len(mixed), -1)


@pytest.mark.parametrize("count", [1024, pytest.param(8192, marks=pytest.mark.slow)])
def test_the_error_over_many_tokens_does_not_grow(count: int) -> None:
    rng = np.random.default_rng(1)
    w = weights(rng, SHAPE)
    mixed = (rng.normal(0, 1, (count, SHAPE.channels)) * 65536).astype(np.int64)
    steps = (rng.normal(0, 1, (count, SHAPE.heads)) * 65536).astype(np.int64)
    found, _ = whole(scan_rows(mixed, steps, w.step_bias, SHAPE), w, SHAPE)
    expected = floats(mixed, steps, w, SHAPE)
    error = np.abs(found / 65536 - expected).reshape(8, count // 8, -1).max(axis=(1, 2)) / np.abs(expected).max()
    assert error.max() < 2e-4, error
    assert error[4:].max() < 1.6 * error[:4].max(), error  # 2 if it grew with every token


@pytest.mark.parametrize("count", [1024, pytest.param(4096, marks=pytest.mark.slow)])
def test_steady_inputs_reach_the_floats_fixed_point_in_slow_heads(count: int) -> None:
    """A bias of the rounding at each block's end would add up where a head hardly forgets and inputs do not vary."""
    w = weights(np.random.default_rng(2), SHAPE, slowest=1e-4)
    mixed, steps = np.full((count, SHAPE.channels), 20000), np.zeros((count, SHAPE.heads), np.int64)
    found, _ = whole(scan_rows(mixed, steps, w.step_bias, SHAPE), w, SHAPE)
    expected = floats(mixed, steps, w, SHAPE)
    assert (np.abs(found[-1] / 65536 - expected[-1]) < 2e-5 * np.abs(expected[-1]) + 1e-4).all()


def test_results_do_not_depend_on_where_a_text_is_cut() -> None:
    """A row reads its block's rows and the state before the block, and nothing else."""
    rng = np.random.default_rng(3)
    w = weights(rng, SHAPE)
    mixed = rng.integers(-1 << 18, 1 << 18, (200, SHAPE.channels))
    steps = rng.integers(-1 << 18, 1 << 18, (200, SHAPE.heads))
    rows = scan_rows(mixed, steps, w.step_bias, SHAPE)
    found, states = whole(rows, w, SHAPE)
    for end in (1, 63, 64, 65, 127, 128, 150):
        cut = scan_rows(mixed[:end], steps[:end], w.step_bias, SHAPE)
        assert np.array_equal(whole(cut, w, SHAPE)[0], found[:end])
    alone = scan_row(part(rows, 128, 141), states[1], w, SHAPE)
    assert np.array_equal(alone, found[140])


def test_softplus_is_the_float_one() -> None:
    x = np.concatenate([np.arange(-20 << 16, 20 << 16, 997), [0, 63 << 16]])
    expected = np.logaddexp(0, x / 65536)
    assert np.abs(softplus(x) / 2**26 - expected).max() < 3e-8 + 4e-6
    assert (np.abs(softplus(x) / 2**26 - expected) < 1e-5 * expected + 2**-26).all()
    assert softplus(np.array([LIMIT, -LIMIT])).tolist() == [STEP_LIMIT, 0]


def test_extremes_saturate_and_never_wrap() -> None:
    """All inputs at the largest 32-bit value, no decay, largest steps: sums stay below 2^63, results at the limit."""
    shape = ScanShape(heads=1, width=2, groups=1, states=256)
    w = ScanWeights(
        taps=np.full((shape.channels, 4), (256 << 20) - 1), bias=np.full(shape.channels, (1 << 30) - 1),
        step_bias=np.array([LIMIT]), rate=np.array([0]), skip=np.array([(1 << 30) - 1]),
    )  # fmt: skip
    row = row_codes(np.full((1, shape.channels), LIMIT))
    assert (convolved([(row.codes[0], 16)] * 4, w.taps, w.bias) >= LIMIT - 1).all()
    for sign in (1, -1):
        mixed = np.full((130, shape.channels), LIMIT) * np.where(np.arange(shape.channels) < 2, sign, 1)
        rows = scan_rows(mixed, np.full((130, 1), LIMIT), w.step_bias, shape)
        found, states = whole(rows, w, shape)
        assert (found == sign * LIMIT).all()
        assert (np.abs(states[1].mantissa) >= 1 << 29).all()
        assert (np.sign(states[1].mantissa) == sign).all()
        values = [np.ldexp(s.mantissa[0, 0, 0], s.exponent[0]) for s in states]
        assert values[1] == pytest.approx(2 * values[0], rel=1e-8)


@pytest.mark.parametrize("rate", [0, 1, (1 << 30) - 1])
def test_a_state_is_kept_or_forgotten_by_its_rate(rate: int) -> None:
    shape = ScanShape(heads=1, width=1, groups=1, states=1)
    w = ScanWeights(*(np.zeros(1, np.int64),) * 3, rate=np.array([rate]), skip=np.zeros(1, np.int64))
    mixed = np.zeros((2 * BLOCK, 3), np.int64)
    mixed[0] = mixed[:, 2] = 65536
    mixed[0, 1] = 65536
    found, _ = whole(scan_rows(mixed, np.zeros((2 * BLOCK, 1), np.int64), w.step_bias, shape), w, shape)
    ln2 = round(np.log(2) * 65536)
    assert abs(found[0, 0] - ln2) <= 1
    assert abs(found[-1, 0] - (0 if rate > 1 else ln2)) <= (0 if rate > 1 else 5)


def test_silence_leaves_a_state_of_zeros() -> None:
    rows = scan_rows(np.zeros((64, SHAPE.channels), np.int64), np.zeros((64, 4), np.int64), np.zeros(4, int), SHAPE)
    w = weights(np.random.default_rng(4), SHAPE)
    found, states = whole(rows, w, SHAPE)
    assert not found.any()
    assert not states[0].mantissa.any()
    assert not states[0].exponent.any()
