"""The matrix product: its definition in Python integers, the bounds of its sums, its error."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ModelError
from intact.models.llama import Llama
from intact.numerics import weights
from intact.numerics.activations import LARGEST, Quantized, block_sums, quantize
from intact.numerics.matmul import FOLD, GROUP, MINIMA_FOLD, matmul
from intact.numerics.weight_formats import BLOCK_FORMATS
from intact.numerics.weights import BlockWeight
from support.examples import examples

LIMIT = (1 << 31) - 1
WIDEST = 32768
MOST = 1 << 50


def blocks(kind: str, rows: int, columns: int, seed: int) -> BlockWeight:
    rng = np.random.default_rng(seed)
    spec = BLOCK_FORMATS[kind]
    like = weights.from_blocks(kind, np.zeros(spec.size, np.uint8), (1, spec.values))
    shape = rows, -(-columns // 32) * 32 // like.block
    minimum = None if like.minimum is None else rng.integers(-32767, 32768, shape).astype(np.int16)
    exponents = rng.integers(-60, 6, (2, rows)).astype(np.int32)
    return like._replace(
        codes=rng.integers(0, 1 << like.bits, (rows, -(-columns // 32) * 32)).astype(np.uint8), columns=columns,
        scale=rng.integers(-32767, 32768, shape).astype(np.int16), scale_exp=exponents[0],
        minimum=minimum, minimum_exp=None if minimum is None else exponents[1],
    )  # fmt: skip


def half_up(x: int, s: int) -> int:
    return math.floor(Fraction(x, 1 << s) + Fraction(1, 2))


def scaled(x: int, left: int) -> int:
    return half_up(x, -left) if left <= 0 else max(-LIMIT, min(LIMIT, x)) << min(left, 31)


def by_the_text(a: Quantized, w: BlockWeight, fraction: int, m: int, n: int) -> int:
    """One element as docs/spec/numerics.md, section 4, has it, in integers of any size; asserts that 32 bits do."""
    table = list(range(1 << w.bits)) if w.table is None else w.table.tolist()
    padded = a.codes.shape[1]
    total = minima = 0
    for start in range(0, padded, 32 * GROUP):
        group = 0
        for first in range(start, min(start + 32 * GROUP, padded), w.block):
            acc = sum(int(a.codes[m, k]) * (table[int(w.codes[n, k])] - w.zero) for k in range(first, first + w.block))
            acc = half_up(acc, w.shift)
            assert abs(acc) <= 32512
            group += acc * half_up(int(w.scale[n, first // w.block]) * int(a.scale[m, first // 32]), 15)
            assert abs(group) + 64 <= LIMIT
        total += half_up(group, FOLD)
        assert abs(total) <= LIMIT
    exponent = fraction + int(a.exponent[m])
    result = scaled(total, 22 + w.shift + exponent + int(w.scale_exp[n]))
    if w.minimum is not None and w.minimum_exp is not None:
        sums, own = block_sums(a, w.block)
        fold = MINIMA_FOLD[w.block]
        for b in range(0, sums.shape[1], GROUP):
            group = sum(
                int(s) * int(v) for s, v in zip(sums[m, b : b + GROUP], w.minimum[n, b : b + GROUP], strict=True)
            )
            assert abs(group) + 64 <= LIMIT
            minima += half_up(group, fold)
        assert abs(minima) <= LIMIT
        result += scaled(minima, fold + exponent + int(w.minimum_exp[n]) + int(own[m]))
    assert abs(result) < 1 << 63
    return max(-MOST, min(MOST, result))


@given(
    st.sampled_from(sorted(BLOCK_FORMATS)),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 600),
    st.integers(0, 2**32),
)
@examples(100)
def test_products_are_the_integers_of_the_text(kind: str, rows: int, outputs: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = blocks(kind, outputs, columns, seed)
    x = np.rint(rng.normal(0, 2.0 ** rng.uniform(0, 28), (rows, columns))).astype(np.int64)
    a, fraction = quantize(x, 16), int(rng.choice([16, 20]))
    got = matmul(a, w, fraction)
    for m in range(rows):
        for n in range(outputs):
            assert got[m, n] == by_the_text(a, w, fraction, m, n)


@pytest.mark.parametrize("kind", sorted(BLOCK_FORMATS))
def test_the_largest_sums_of_the_widest_row_fit(kind: str) -> None:
    """Codes, scales and minima at their extremes and all of one sign, K = 32,768."""
    spec = BLOCK_FORMATS[kind]
    like = weights.from_blocks(kind, np.zeros(spec.size, np.uint8), (1, spec.values))
    table = np.arange(1 << like.bits) if like.table is None else like.table.astype(int)
    code = int(np.abs(table - like.zero).argmax())
    shape = 1, WIDEST // like.block
    minimum = None if like.minimum is None else np.full(shape, 32767, np.int16)
    exponent = np.array([-30], np.int32)
    w = like._replace(
        codes=np.full((1, WIDEST), code, np.uint8), columns=WIDEST, scale=np.full(shape, 32767, np.int16),
        scale_exp=exponent, minimum=minimum, minimum_exp=None if minimum is None else exponent,
    )  # fmt: skip
    a = quantize(np.full((1, WIDEST), LARGEST), 16)
    assert a.scale.max() == 8191
    assert a.codes.min() == 127
    assert matmul(a, w, 16)[0, 0] == by_the_text(a, w, 16, 0, 0)
    negative = quantize(np.full((1, WIDEST), -LARGEST), 16)
    assert matmul(negative, w, 16)[0, 0] == by_the_text(negative, w, 16, 0, 0)


def test_the_bounds_of_the_text() -> None:
    """Largest group and largest total, both for products and for minima."""
    largest = 32512 * 8191
    assert (32767 * 8191 + (1 << 14)) >> 15 == 8191
    assert GROUP * largest + 64 <= LIMIT
    assert WIDEST // 256 * ((GROUP * largest + 64) >> FOLD) <= LIMIT
    minima = GROUP * 8191 * 32767
    for block, fold in MINIMA_FOLD.items():
        half = 1 << (fold - 1)
        assert minima + half <= LIMIT
        assert WIDEST // (GROUP * block) * ((minima + half) >> fold) <= LIMIT
    for kind, spec in BLOCK_FORMATS.items():
        table = np.arange(1 << spec.bits) if spec.table is None else np.array(spec.table)
        worst = spec.block * int(np.abs(table - spec.zero).max()) * 127
        assert half_up(worst, spec.shift) * (32 // spec.block) <= 32512, kind
        # As the kernels hold it before the zero point is taken off: unsigned codes, and half a rounding.
        assert spec.block * int(table.max()) * 127 + spec.block * spec.zero * 127 + (1 << spec.shift) < 1 << 31


BOUNDS = {"embedding_length": 16384, "feed_forward_length": 32768, "attention.head_count": 64}


@pytest.mark.parametrize("key", [None, *BOUNDS])
def test_models_beyond_the_bounds_are_refused(key: str | None) -> None:
    """No row that a matrix product takes is longer than 32,768, and no norm's longer than 16,384."""
    sizes = BOUNDS | {"block_count": 1, "attention.head_count_kv": 1, "attention.key_length": 512, "context_length": 64}
    if key is not None:
        sizes[key] += 1
    metadata = {f"llama.{name}": value for name, value in sizes.items()}
    metadata |= {"llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.dimension_count": 512}
    checkpoint: Any = SimpleNamespace(path=Path("m.gguf"), format="gguf", metadata=metadata, tensors={})
    if key is None:
        Llama(checkpoint)
    else:
        with pytest.raises(ModelError, match=r"m\.gguf: a .*width .* exceeds the proven bound"):
            Llama(checkpoint)


@given(st.integers(0, 2**32))
@examples(30)
def test_products_are_close_to_those_of_the_values(seed: int) -> None:
    """The error beside a float64 product of the same quantised numbers is far below that of quantising them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (4, 512))
    w = weights.from_floats(rng.normal(0, 0.05, (24, 512)).astype(np.float32))
    a = quantize(np.rint(x * 65536).astype(np.int64), 16)
    quantised = a.codes * np.repeat(np.ldexp(a.scale.astype(float), a.exponent[:, None]), 32, axis=1)
    exact = quantised @ weights.values(w).T
    error = matmul(a, w, 30) / 2**30 - exact
    assert np.abs(error).max() < 1e-3 * np.abs(exact).max()
