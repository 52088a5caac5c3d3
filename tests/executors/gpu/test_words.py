"""The helpers of the shaders, one by one, at the edges of their ranges: 64-bit integers in, two words out."""

import math
from itertools import product

import numpy as np
import pytest

from intact.numerics.fixed import rshift, sat32, shift
from intact.numerics.functions import exp2_neg, inverse_sqrt, sigmoid
from intact.numerics.soft_cap import SoftCap, soft_cap
from support.gpu import call, signed

TOP = (1 << 31) - 1
WORDS = [0, 1, 2, 0xFFFF, 0x10000, 0x10001, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFF0000, 0xFFFFFFFE, 0xFFFFFFFF]
NARROW = [x - (1 << 32) if x >> 31 else x for x in WORDS]
WIDE = sorted({sign * (base + add) for base in (0, 1 << 31, 1 << 32, 1 << 47, (1 << 61) - 100) for add in (-1, 0, 1, 77)
               for sign in (-1, 1)})  # fmt: skip
RNG = np.random.default_rng(5)


def pairs(a, b):
    found = list(product(a, b))
    return [x for x, _ in found], [y for _, y in found]


def wrapped(x):
    return ((x + (1 << 63)) % (1 << 64)) - (1 << 63)


@pytest.mark.parametrize(
    ("expression", "exact"),
    [
        ("vec4<u32>(plus(a, b), 0u, 0u)", lambda a, b: wrapped(a + b)),
        ("vec4<u32>(minus(a, b), 0u, 0u)", lambda a, b: wrapped(a - b)),
        ("vec4<u32>(select(0u, 1u, less(a, b)), 0u, 0u, 0u)", lambda a, b: int(a < b)),
        ("vec4<u32>(select(0u, 1u, less_u(a, b)), 0u, 0u, 0u)", lambda a, b: int(a % (1 << 64) < b % (1 << 64))),
    ],
    ids=["plus", "minus", "less", "less_u"],
)
def test_two_words_behave_as_64_bits(expression, exact):
    a, b = pairs(WIDE, WIDE)
    assert signed(call("words", expression, a, b, words=2)) == list(map(exact, a, b))


def test_products_are_exact():
    a, b = pairs(WORDS, WORDS)
    assert signed(call("words", "vec4<u32>(mul_u(a.x, b.x), 0u, 0u)", a, b, words=2)) == [
        wrapped(x * y) for x, y in zip(a, b, strict=True)
    ]
    a, b = pairs(NARROW, NARROW)
    found = call("words", "vec4<u32>(mul(i32(a.x), i32(b.x)), 0u, 0u)", a, b, words=2)
    assert signed(found) == [x * y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("name", ["rshift", "shift"])
def test_shifts_are_those_of_the_definition(name):
    near = [sign * (1 << 61) + add for sign in (-1, 1) for add in (-1, 0, 1)]  # whose halves round by a shift of 62
    a, s = pairs(
        [*WIDE, *near],
        [0, 1, 2, 15, 16, 30, 31, 32, 33, 47, 61, 62, 63, 64, 90] + [-1, -15, -31, -40] * (name == "shift"),
    )
    found = signed(call("words", f"vec4<u32>({name}(a, i32(b.x)), 0u, 0u)", a, s, words=2))
    exact = rshift if name == "rshift" else shift
    assert found == exact(np.array(a, np.int64), np.array(s, np.int64)).tolist()


def test_saturation_never_gives_the_smallest_integer():
    found = call("words", "vec4<u32>(u32(sat32(a)), 0u, 0u, 0u)", [*WIDE, -(1 << 31), 1 << 31])[:, 0]
    assert found.astype(np.uint32).view(np.int32).tolist() == sat32(np.array([*WIDE, -(1 << 31), 1 << 31])).tolist()


def test_clips_are_exact():
    for log2 in (46, 50, 53):
        a = [sign * ((1 << log2) + add) for add in (-1, 0, 1, 1 << 40) for sign in (-1, 1)]
        most = 1 << log2
        assert signed(call("words", f"vec4<u32>(clip(a, {log2}u), 0u, 0u)", a, words=2)) == [
            min(max(x, -most), most) for x in a
        ]


def divisions():
    """Quotients of one word, among them those that need both corrections of each digit."""
    fixed = [(h, low, d) for d in WORDS[1:] for h in {0, d // 2, d - 1} for low in WORDS]
    hard = [
        *[(0x7FFFFFFF, 0xFFFFFFFF, 0x80000000), (0x7FFF8000, 0, 0x80007FFF), (0x80000000, 0, 0x8000FFFF)],
        *[(0x8000FFFD, 0xFFFF0000, 0x8000FFFF), (0xFFFE, 0xFFFFFFFF, 0xFFFF), (0x80000000, 0xFFFFFFFF, 0x80000001)],
    ]
    random = []
    for least, span in ((1, 1 << 32), (1 << 31, 1 << 16)):  # the latter have small high digits: estimates too large
        for _ in range(3000):
            d = least + int(RNG.integers(0, span - 1))
            h = d - 1 - int(RNG.integers(0, min(d, 9))) if span < 1 << 32 else int(RNG.integers(0, d))
            random.append((h, int(RNG.integers(0, 1 << 32)), d))
    return [*fixed, *hard, *random]


def test_division_is_exact():
    cases = [case for case in divisions() if case[0] < case[2]]
    numerators, d = [h << 32 | low for h, low, _ in cases], [d for *_, d in cases]
    found = call("functions", "vec4<u32>(div(a.y, a.x, b.x), 0u, 0u)", numerators, d, words=2)
    assert [tuple(row) for row in found.tolist()] == [divmod(n, x) for n, x in zip(numerators, d, strict=True)]


def test_quotients_of_two_words_are_exact():
    a, d = pairs([x for x in WIDE if x >= 0], [x for x in WORDS if x])
    assert signed(call("functions", "vec4<u32>(divide(a, b.x), 0u, 0u)", a, d, words=2)) == [
        x // y for x, y in zip(a, d, strict=True)
    ]


def test_roots_are_exact():
    near = [r * r + add for r in (1 << 31, (1 << 31) + 1, 3037000499, (1 << 32) - 1) for add in (-1, 0, 1, 2)]
    a = [x for x in near if 1 << 62 <= x < 1 << 64] + [2 * int(x) for x in RNG.integers(1 << 62, (1 << 63) - 1, 2000)]
    assert call("functions", "vec4<u32>(root64(a), 0u, 0u, 0u)", a)[:, 0].tolist() == [math.isqrt(x) for x in a]


def test_inverse_roots_are_those_of_the_definition():
    a = [1, 2, 3, 4, (1 << 62) - 1] + [(1 << k) + add for k in range(2, 62) for add in (-1, 0, 1)]
    found = call("functions", "vec4<u32>(inverse_root(a).r, u32(inverse_root(a).p), 0u, 0u)", a, words=2)
    assert [tuple(row) for row in found.tolist()] == [inverse_sqrt(x) for x in a]


def test_powers_of_two_are_those_of_the_definition():
    t = [*range(1 << 16), *(n << 16 | f for n in range(1, 34) for f in (0, 1, 12345, 65535)), (1 << 32) - 1]
    assert call("functions", "vec4<u32>(exp2neg(a.x), 0u, 0u, 0u)", t)[:, 0].tolist() == exp2_neg(np.array(t)).tolist()


def test_sigmoids_and_soft_caps_are_those_of_the_definition():
    x = [*range(-70000, 70000, 37), *(s * (1 << k) for k in range(31) for s in (-1, 1)), TOP, -TOP]
    assert (
        call("functions", "vec4<u32>(sigmoid(i32(a.x)), 0u, 0u, 0u)", x)[:, 0].tolist() == sigmoid(np.array(x)).tolist()
    )
    for cap in (SoftCap(1 << 25, 1 << 16), SoftCap(1 << 11, 1 << 30), SoftCap(671089, 50 << 16)):
        found = call("functions", f"vec4<u32>(u32(soft_cap(i32(a.x), {cap.slope}u, {cap.limit}u)), 0u, 0u, 0u)", x)[
            :, 0
        ]
        assert found.astype(np.uint32).view(np.int32).tolist() == soft_cap(np.array(x), cap).tolist()


EDGES = sorted({
    sign * (1 << k) + add
    for k in (0, 15, 16, 30, 31, 32, 33, 47, 61, 62, 63) for sign in (-1, 1) for add in (-1, 0, 1)
    if -(1 << 63) <= sign * (1 << k) + add < 1 << 63
})  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "exact"),
    [
        ("vec4<u32>(left(a, b.x), 0u, 0u)", lambda a, s: wrapped(a << s)),
        ("vec4<u32>(right(a, b.x), 0u, 0u)", lambda a, s: a >> s),
    ],
    ids=["left", "right"],
)
def test_plain_shifts_take_any_amount(expression, exact):
    a, s = pairs(EDGES, [0, 1, 15, 16, 31, 32, 33, 62, 63, 64, 90])
    assert signed(call("words", expression, a, s, words=2)) == list(map(exact, a, s))


def test_comparisons_sizes_and_bits_at_the_edges_of_64_bits():
    a, b = pairs(EDGES, EDGES)
    signs = "select(0u, 1u, less(a, b)), select(0u, 1u, less_u(a, b)), select(0u, 1u, negative(a))"
    assert [tuple(row) for row in call("words", f"vec4<u32>({signs}, 0u)", a, b, words=3).tolist()] == [
        (x < y, x % (1 << 64) < y % (1 << 64), x < 0) for x, y in zip(a, b, strict=True)
    ]
    found = call("words", "vec4<u32>(size(a), u32(bits(size(a))), 0u)", EDGES, words=3)
    assert [(high << 32 | low, bits) for low, high, bits in found.tolist()] == [
        (abs(x), abs(x).bit_length()) for x in EDGES
    ]
    narrow = [x for x in EDGES if abs(x) < 1 << 31]
    found = call("words", "vec4<u32>(size32(i32(a.x)), u32(bits32(size32(i32(a.x)))), wide(i32(a.x)))", narrow, words=4)
    assert [(size, bits, *words) for size, bits, *words in found.tolist()] == [
        (abs(x), abs(x).bit_length(), x % (1 << 32), x >> 32 & 0xFFFFFFFF) for x in narrow
    ]


def test_shifts_of_one_word_round_halves_up():
    a, s = pairs([x for x in NARROW if abs(x) < (1 << 31) - 1], [1, 2, 15, 24, 30])
    a, s = zip(*[(x, y) for x, y in zip(a, s, strict=True) if abs(x) + (1 << (y - 1)) < 1 << 31], strict=True)
    found = call("words", "vec4<u32>(u32(rshift32(i32(a.x), b.x)), 0u, 0u, 0u)", a, s)[:, 0]
    assert found.astype(np.uint32).view(np.int32).tolist() == rshift(np.array(a), np.array(s)).tolist()


def test_steps_of_the_polynomial_are_products_rounded_once():
    a, f = pairs([s * x for x in (0, 1, 0xFFFF, 0x10000, 744257403, 1 << 30) for s in (-1, 1)], [0, 1, 0x7FFF, 0xFFFF])
    found = call("functions", "vec4<u32>(u32(horner(i32(a.x), b.x)), 0u, 0u, 0u)", a, f)[:, 0]
    assert found.astype(np.uint32).view(np.int32).tolist() == [
        (x * y + (1 << 15)) >> 16 for x, y in zip(a, f, strict=True)
    ]
