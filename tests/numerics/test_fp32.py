"""The fp32 profile: the reference against float64 and ggml's own values, and every tier against the reference."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from intact.numerics.gate import GATES
from intact.numerics.weight_formats import BLOCK_FORMATS, FORMATS

try:
    from intact._native import fp32 as native
except ImportError:  # the reference can be tested without the extension
    native = None

Floats = npt.NDArray[np.float32]
TIERS: list[str] = native.tiers() if native is not None else []
FLOAT_KINDS = ("F32", "F16", "BF16")


def each_tier(test: Any) -> Any:
    return pytest.mark.native(pytest.mark.parametrize("tier", TIERS)(test))


seeds = st.integers(0, 2**32 - 1)


def same(a: Floats, b: Floats) -> None:
    assert a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def draw(rng: np.random.Generator, *shape: int) -> Floats:
    """Values of all magnitudes, so that a sum in another order, or fused, rarely agrees."""
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-6, 7, shape))).astype(np.float32)


def stored(rng: np.random.Generator, kind: str, rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """Bytes of a random matrix: finite values, and every bit pattern of codes and scales."""
    elements, size = FORMATS[kind].values, FORMATS[kind].size
    if kind in FLOAT_KINDS:
        x = draw(rng, rows, columns)
        if kind == "F16":
            return (x * np.float32(2.0**-9)).astype(np.float16).view(np.uint8).reshape(-1)  # subnormals too
        return (
            x.view(np.uint8).reshape(-1)
            if kind == "F32"
            else (x.view(np.uint32) >> 16).astype("<u2").view(np.uint8).reshape(-1)
        )
    blocks = rng.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for half in BLOCK_FORMATS[kind].halves:
        half.write(blocks, half.read(blocks) & np.uint16(0xBFFF))  # below 2
    if kind == "MXFP4":
        blocks[:, 0] = np.where(rng.random(len(blocks)) < 0.1, blocks[:, 0] % 4, 120 + blocks[:, 0] % 16)
    return blocks.reshape(-1)


# --- the reference ---


@pytest.mark.parametrize("kind", FORMATS)
def test_dequantize_equals_ggml(kind: str) -> None:
    gguf = pytest.importorskip("gguf")
    elements, size = FORMATS[kind].values, FORMATS[kind].size
    kind_id = gguf.GGMLQuantizationType[kind]
    assert gguf.GGML_QUANT_SIZES[kind_id] == (elements, size)
    data = stored(np.random.default_rng(7), kind, 64, 512)
    expected = gguf.quants.dequantize(data.reshape(64, -1), kind_id)
    same(dequantize(kind, data, (64, 512)), np.ascontiguousarray(expected, np.float32))


def test_dequantize_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="unknown storage format 'Q9'"):
        dequantize("Q9", np.zeros(4, np.uint8), (1, 1))
    with pytest.raises(ValueError, match="multiple of 32 values, got 33"):
        dequantize("Q4_0", np.zeros(18, np.uint8), (1, 33))
    with pytest.raises(ValueError, match="needs 36 bytes, got 18"):
        dequantize("Q4_0", np.zeros(18, np.uint8), (2, 32))


def test_lane_sum_is_sixteen_lanes_and_a_tree() -> None:
    x = draw(np.random.default_rng(1), 100)
    lanes = [np.float32(0)] * 16
    for i, value in enumerate(x):
        lanes[i % 16] += value
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [lanes[i] + lanes[i + half] for i in range(half)]
    assert fp32.lane_sum(x) == lanes[0]
    assert fp32.lane_sum(x) != np.float32(np.sum(x[::-1].astype(np.float32).cumsum(dtype=np.float32)[-1]))


def test_exp_errs_by_less_than_one_ulp() -> None:
    x = np.concatenate([np.linspace(-87, 88.7228, 1_000_001), np.linspace(-1e-3, 1e-3, 10_001)]).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    ulp = np.spacing(exact.astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(fp32.exp(x) - exact) / ulp) < 1.0


def test_exp_is_defined_everywhere() -> None:
    inf = np.inf
    x = np.array([-inf, -3e38, -87.00001, -0.0, 0.0, 1e-45, 88.72284, 3e38, inf, np.nan], np.float32)
    same(fp32.exp(x), np.array([0, 0, 0, 1, 1, 1, inf, inf, inf, np.nan], np.float32))
    edge = fp32.exp(np.array([-87.0, 88.72283], np.float32))
    assert edge[0] >= np.finfo(np.float32).tiny  # never subnormal
    assert np.isfinite(edge[1])


def test_activations_are_close_to_float64_and_finite() -> None:
    x = np.concatenate([np.linspace(-30, 30, 10_001), [-3e38, 3e38, -1e15, 1e15]]).astype(np.float32)
    wide = x.astype(np.float64)
    with np.errstate(over="ignore"):
        silu = wide / (1 + np.exp(-wide))
        gelu = 0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
    np.testing.assert_allclose(fp32.silu(x), silu, rtol=5e-7, atol=1e-36)
    np.testing.assert_allclose(fp32.gelu_tanh(x), gelu, rtol=2e-6, atol=1e-6)
    assert np.isfinite(fp32.silu(x)).all()
    assert np.isfinite(fp32.gelu_tanh(x)).all()


def test_attention_is_softmax_attention() -> None:
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 24), (50, 24), (50, 24)))
    score = q.astype(np.float64) @ k[7:].T.astype(np.float64) * 0.2
    p = np.exp(score - score.max(axis=1, keepdims=True))
    np.testing.assert_allclose(fp32.attend(q, k, v, 0.2, 7), p / p.sum(axis=1, keepdims=True) @ v[7:], atol=2e-6)
    sinks = np.array([-2.0, 0.5, 9.0], np.float32)
    p /= (p.sum(axis=1) + np.exp(sinks - score.max(axis=1)))[:, None]
    np.testing.assert_allclose(fp32.attend(q, k, v, 0.2, 7, sinks=sinks), p @ v[7:], atol=2e-6)


def test_the_gate_of_gpt_oss_is_close_to_float64() -> None:
    g, u = np.linspace(-30, 30, 1001).astype(np.float32), np.linspace(20, -20, 1001).astype(np.float32)
    x, y = np.minimum(g.astype(np.float64), 7), np.clip(u.astype(np.float64), -7, 7)
    expected = x / (1 + np.exp(-1.702 * x)) * (y + 1)
    np.testing.assert_allclose(fp32.gate("swiglu_oai", g, u), expected, rtol=1e-5, atol=1e-5)


def test_norm_and_rope_are_close_to_float64() -> None:
    rng = np.random.default_rng(4)
    x, gain = rng.standard_normal((5, 2, 40)).astype(np.float32), rng.standard_normal(40).astype(np.float32)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean(axis=-1, keepdims=True) + 1e-6) * gain
    np.testing.assert_allclose(fp32.rmsnorm(x, gain, 1e-6), expected, rtol=1e-6)
    angle = rng.uniform(0, 7, (5, 20))
    cosine, sine = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    turned = (wide[..., :20] + 1j * wide[..., 20:]) * np.exp(1j * angle)[:, None, :]
    np.testing.assert_allclose(
        fp32.rope(x, cosine, sine, False), np.concatenate([turned.real, turned.imag], -1), atol=1e-6
    )
    turned = (wide[..., ::2] + 1j * wide[..., 1::2]) * np.exp(1j * angle)[:, None, :]
    np.testing.assert_allclose(fp32.rope(x, cosine, sine, True)[..., 1::2], turned.imag, atol=1e-6)


def test_reference_keeps_its_bits() -> None:
    """Golden digest: a change of any bit of the reference is a new numerics version."""
    rng = np.random.default_rng(11)
    x, w, g = (
        rng.integers(-1000, 1000, shape).astype(np.float32) / np.float32(97) for shape in ((3, 40), (7, 40), (40,))
    )
    results = [
        fp32.linear(x, w, w[:, 0]),
        fp32.rmsnorm(x, g, 1e-5),
        fp32.exp(x),
        fp32.silu(x),
        fp32.gelu_tanh(x),
        fp32.rope(x[:, None, :], w[:3, :20], w[3:6, :20], True),
        fp32.attend(x, w, w, 0.125, 1),
    ]
    assert zlib.crc32(b"".join(np.ascontiguousarray(y).tobytes() for y in results)) == GOLDEN


GOLDEN = 881305413


# --- every tier against the reference ---


@each_tier
@given(
    seed=seeds,
    kind=st.sampled_from(FLOAT_KINDS),
    m=st.integers(1, 20),
    n=st.integers(1, 13),
    k=st.integers(1, 70),
    bias=st.booleans(),
)
def test_linear_on_every_tier(tier: str, seed: int, kind: str, m: int, n: int, k: int, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    data, x = stored(rng, kind, n, k), draw(rng, m, k)
    b = draw(rng, n) if bias else None
    cuts = sorted(int(c) for c in rng.integers(0, n + 1, 2))
    same(native.linear(tier, kind, data, n, x, b, cuts), fp32.linear(x, dequantize(kind, data, (n, k)), b))


@each_tier
@pytest.mark.parametrize("kind", FORMATS)
def test_linear_on_stored_blocks(tier: str, kind: str) -> None:
    rng = np.random.default_rng(5)
    for m, n, k in ((1, 5, 256), (7, 6, 1280), (34, 3, 2304)):
        data, x = stored(rng, kind, n, k), draw(rng, m, k)
        same(native.linear(tier, kind, data, n, x), fp32.linear(x, dequantize(kind, data, (n, k))))


@each_tier
@pytest.mark.parametrize("k", [1023, 1024, 1025, 2047, 2064, 3000])
def test_linear_across_stretches(tier: str, k: int) -> None:
    rng = np.random.default_rng(k)
    for kind in FLOAT_KINDS:
        data, x = stored(rng, kind, 5, k), draw(rng, 6, k)
        askew = np.concatenate([np.zeros(1, np.uint8), data])[1:]  # at an odd address
        same(native.linear(tier, kind, askew, 5, x), fp32.linear(x, dequantize(kind, data, (5, k))))


@each_tier
def test_rows_do_not_depend_on_their_batch(tier: str) -> None:
    rng = np.random.default_rng(6)
    data, x = stored(rng, "F32", 9, 200), draw(rng, 70, 200)
    whole = native.linear(tier, "F32", data, 9, x)
    for size in (1, 2, 3, 5, 33, 64):
        for start in range(0, 70, size):
            same(native.linear(tier, "F32", data, 9, x[start : start + size]), whole[start : start + size])


@each_tier
def test_products_are_rounded_before_they_are_added(tier: str) -> None:
    """A fused multiply-add would give 2^-24, and not 0, in each of these."""
    x = np.array([[1.0] + [0.0] * 15 + [1 + 2.0**-12]], np.float32)
    w = np.array([[-(1 + 2.0**-11)] + [0.0] * 15 + [1 + 2.0**-12]], np.float32)
    assert native.linear(tier, "F32", w.view(np.uint8).reshape(-1), 1, x)[0, 0] == 0.0
    assert fp32.linear(x, w)[0, 0] == 0.0
    a, b = np.float32(1 + 2.0**-12), np.float32(1 + 2.0**-11)
    turned = native.rope(tier, np.array([[[a, b]]]), np.array([[a]]), np.array([[np.float32(1)]]), False)
    assert turned[0, 0, 0] == 0.0


@each_tier
@pytest.mark.parametrize("kind", FORMATS)
def test_dequantize_on_every_tier(tier: str, kind: str) -> None:
    data = stored(np.random.default_rng(8), kind, 12, 512)
    expected = dequantize(kind, data, (12, 512))
    same(native.dequantize(tier, kind, data, 12, 512, 0, 12), expected)
    same(native.dequantize(tier, kind, data, 12, 512, 5, 9), expected[5:9])


@each_tier
def test_every_float16_and_bfloat16(tier: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    for kind, exponent in (("F16", 0x7C00), ("BF16", 0x7F80)):
        data = bits[(bits & exponent != exponent) | (bits & 0x7FFF == exponent)].view(np.uint8)  # all but NaN
        n = data.size // 2
        same(native.dequantize(tier, kind, data, 1, n, 0, 1)[0], dequantize(kind, data, (n,)))


@each_tier
@given(seed=seeds, m=st.integers(1, 5), slices=st.integers(1, 3), width=st.integers(1, 70))
def test_rmsnorm_on_every_tier(tier: str, seed: int, m: int, slices: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    x, gain = draw(rng, m, slices * width), draw(rng, width)
    expected = fp32.rmsnorm(x.reshape(m, slices, width), gain, 1e-5).reshape(m, -1)
    same(native.rmsnorm(tier, x, gain, 1e-5), expected)


@each_tier
@given(
    seed=seeds,
    m=st.integers(1, 4),
    heads=st.integers(1, 3),
    pairs=st.integers(1, 20),
    rest=st.integers(0, 5),
    interleaved=st.booleans(),
)
def test_rope_on_every_tier(tier: str, seed: int, m: int, heads: int, pairs: int, rest: int, interleaved: bool) -> None:
    rng = np.random.default_rng(seed)
    x, cosine, sine = draw(rng, m, heads, 2 * pairs + rest), draw(rng, m, pairs), draw(rng, m, pairs)
    same(native.rope(tier, x, cosine, sine, interleaved), fp32.rope(x, cosine, sine, interleaved))


@each_tier
@given(
    seed=seeds,
    heads=st.integers(1, 7),
    kv_heads=st.integers(1, 2),
    width=st.integers(1, 75),
    last=st.integers(1, 80),
    window=st.integers(1, 80),
    page_size=st.integers(1, 33),
)
def test_attention_on_every_tier(
    tier: str, seed: int, heads: int, kv_heads: int, width: int, last: int, window: int, page_size: int
) -> None:
    rng = np.random.default_rng(seed)
    first, head = max(0, last - window), kv_heads - 1
    count = -(-last // page_size)
    keys, values = draw(rng, count + 2, kv_heads, page_size, width), draw(rng, count + 2, kv_heads, page_size, width)
    order = [int(page) for page in rng.permutation(count + 2)[:count]]
    q = draw(rng, heads, width)
    k, v = (pages[order][:, head].reshape(-1, width)[:last] for pages in (keys, values))
    same(native.attend(tier, q, keys, values, order, head, first, last, 0.01), fp32.attend(q, k, v, 0.01, first))
    capped = native.attend(tier, q, keys, values, order, head, first, last, 0.1, 1.5)
    same(capped, fp32.attend(q, k, v, 0.1, first, 1.5))
    sinks = draw(rng, heads) * np.float32(3)
    with_sinks = native.attend(tier, q, keys, values, order, head, first, last, 0.1, sinks=sinks)
    same(with_sinks, fp32.attend(q, k, v, 0.1, first, sinks=sinks))


@each_tier
def test_attention_with_many_heads_and_probabilities_that_vanish(tier: str) -> None:
    rng = np.random.default_rng(9)
    q, k, v = draw(rng, 37, 32), draw(rng, 300, 32), draw(rng, 300, 32)
    got = native.attend(tier, q, k[None, None], v[None, None], [0], 0, 100, 300, 1.0)
    same(got, fp32.attend(q, k, v, 1.0, 100))


@each_tier
def test_exp_on_every_tier(tier: str) -> None:
    """One float in 4,001 of all of them, and the edges."""
    bits = np.concatenate(
        [
            np.arange(0, 2**32, 4001, dtype=np.uint32),
            np.uint32(0xC2AE0000) + np.arange(-8, 8, dtype=np.int64).astype(np.uint32),
        ]
    )
    x = bits.view(np.float32)
    x = x[~np.isnan(x)]
    same(native.exp(tier, x), fp32.exp(x))
    assert np.isnan(native.exp(tier, np.array([np.nan], np.float32))).all()


@each_tier
@pytest.mark.parametrize("kind", GATES)
def test_gates_on_every_tier(tier: str, kind: Any) -> None:
    rng = np.random.default_rng(10)
    for n in (1, 15, 16, 17, 1001):
        g, u = draw(rng, n) * np.float32(3), draw(rng, n)
        g[0], u[0] = [-3e38, 3e38, -0.0, 1e20, -1e20][n % 5], 0.5
        same(native.gate(tier, GATES.index(kind), g, u), fp32.gate(kind, g, u))


@each_tier
def test_the_small_operations_on_every_tier(tier: str) -> None:
    rng = np.random.default_rng(12)
    for n in (1, 16, 37):
        a, b = draw(rng, n), draw(rng, n)
        same(native.add(tier, a, b), a + b)
        same(native.multiply(tier, a, b), a * b)
        same(native.divide_by_sum(tier, a, 1e-6), fp32.divide_by_sum(a, 1e-6))
        same(native.sigmoid(tier, a), fp32.sigmoid(a))
        same(native.softmax(tier, a), fp32.softmax(a))
        same(native.soft_cap(tier, a, 2.5), fp32.soft_cap(a, 2.5))
        same(native.add_scaled(tier, a, 0.3, b), b + a * np.float32(0.3))
        same(native.layer_norm(tier, a, b, None, 1e-5), fp32.layer_norm(a, b, None, 1e-5))
        same(native.layer_norm(tier, a, b, a, 1e-5), fp32.layer_norm(a, b, a, 1e-5))
        q30 = rng.integers(-(2**30), 2**30 + 1, n).astype(np.int32)
        same(native.from_q30(tier, q30), fp32.from_q30(q30))
    ids = np.array([3, 0, 3], np.int32)
    for kind in FORMATS:
        data = stored(rng, kind, 4, 512)
        same(native.embed(tier, kind, data, 4, 512, ids, 25.3), fp32.embed(dequantize(kind, data, (4, 512)), ids, 25.3))


@each_tier
def test_the_thread_may_flush_subnormals_and_round_otherwise(tier: str) -> None:
    rng = np.random.default_rng(13)
    x, w = draw(rng, 3, 50) * np.float32(1e-21), draw(rng, 5, 50) * np.float32(1e-21)
    expected = fp32.linear(x, w)
    assert (np.abs(expected) < np.finfo(np.float32).tiny).all()
    assert expected.any()
    data = w.view(np.uint8).reshape(-1)
    old = native.spoil_environment()
    try:
        got = native.linear(tier, "F32", data, 5, x)
        again = native.spoil_environment()
    finally:
        native.restore_environment(old)
    same(got, expected)
    assert again != old  # the kernel left the thread as it found it
