"""Philox against its authors' vectors, filters and draws against plain definitions, log-probabilities by float64."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics import sampling
from intact.numerics.functions import LOG2E
from intact.numerics.sampling import DECIMALS, Sampling, make_sampling

LIMIT = (1 << 31) - 1
LOGITS = st.lists(st.integers(-4, 4).map(lambda x: x << 15) | st.integers(-LIMIT, LIMIT), min_size=1, max_size=30)
SHARES = st.sampled_from([0, 1, 250_000, 900_000, DECIMALS]) | st.integers(0, DECIMALS)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_its_authors_vectors(counter: str, key: str, expected: str) -> None:
    words = [tuple(int(word, 16) for word in text.split()) for text in (counter, key, expected)]
    assert sampling.philox4x32(words[0], words[1]) == words[2]  # type: ignore[arg-type]


def test_uniform_numbers_are_the_first_two_words() -> None:
    words = sampling.philox4x32((7, 1, 0, 0), (0x89ABCDEF, 0x01234567))
    assert sampling.uniform64(0x0123456789ABCDEF, (1 << 32) + 7) == words[0] | words[1] << 32


def test_keys_are_the_digest_of_the_path() -> None:
    digest = hashlib.sha256("7|5:käse|1:0".encode()).digest()
    assert sampling.branch_key(7, ["käse", 0]) == int.from_bytes(digest[:8], "little")
    assert sampling.branch_key(1, ["a", "b"]) != sampling.branch_key(1, ["a|1:b"])


def test_parameters_are_exact_decimals() -> None:
    assert make_sampling(0.7, 40, 0.95, 0.05) == Sampling(round(Fraction(LOG2E * 10, 7)), 40, 950_000, 50_000)
    assert make_sampling(0.0).slope == 0
    assert make_sampling(1000.0).slope == round(Fraction(LOG2E, 1000))
    assert make_sampling(0.000001).slope == LOG2E * DECIMALS
    with pytest.raises(ValueError, match="6 decimals"):
        make_sampling(0.1234567)


def plain_weights(logits: list[int], s: Sampling) -> list[int]:
    """The filters as section 10 says them, with sorting and Python integers."""
    top = max(logits)
    weight = [
        int(
            sampling.exp2_neg(
                np.array([((top - x) * s.slope + (1 << 29)) >> 30 if (top - x) * s.slope < 1 << 61 else 1 << 31])
            )[0]
        )
        for x in logits
    ]
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    order = order[: s.top_k or None]
    mass, kept, total = sum(weight[i] for i in order), [], 0
    for i in order:
        if kept and s.top_p < DECIMALS and total * DECIMALS >= mass * s.top_p:
            break
        kept.append(i)
        total += weight[i]
    return [w if i in kept and w * DECIMALS >= (1 << 30) * s.min_p else 0 for i, w in enumerate(weight)]


@given(LOGITS, st.sampled_from([0.000001, 0.5, 1.0, 3.0, 1000.0]), st.integers(0, 32), SHARES, SHARES)
def test_filters_are_those_of_the_text(logits: list[int], heat: float, top_k: int, top_p: int, min_p: int) -> None:
    chosen = make_sampling(heat)._replace(top_k=top_k, top_p=top_p, min_p=min_p)
    assert sampling.weights(np.array(logits), chosen).tolist() == plain_weights(logits, chosen)


@given(LOGITS, st.sampled_from([0.5, 1.0, 3.0]), SHARES, st.integers(0, 1 << 62), st.integers(0, 1 << 40))
def test_draws_invert_the_distribution(logits: list[int], heat: float, top_p: int, key: int, position: int) -> None:
    """The token in whose share of the mass the uniform number falls."""
    chosen = make_sampling(heat)._replace(top_p=top_p)
    weight = plain_weights(logits, chosen)
    token = sampling.draw(np.array(logits), chosen, key, position)
    uniform = Fraction(sampling.uniform64(key, position), 1 << 64) * sum(weight)
    assert sum(weight[:token]) <= int(uniform) < sum(weight[: token + 1])


def test_draws_follow_the_probabilities() -> None:
    """Chi-square over 3,000 draws of eight tokens: below 24.3 but for one key in a thousand."""
    logits = np.array([0, 1, 2, 3, 0, -1, 2, 1]) << 16
    counts = np.bincount([sampling.draw(logits, make_sampling(1.0), 12345, p) for p in range(3000)], minlength=8)
    expected = np.exp(logits / 65536) / np.exp(logits / 65536).sum() * 3000
    assert ((counts - expected) ** 2 / expected).sum() < 24.3


def test_greedy_takes_the_first_of_the_largest() -> None:
    assert sampling.draw(np.array([3, 9, 9, -LIMIT]), Sampling(), 1, 1) == 1


@given(st.lists(st.integers(-(20 << 16), 20 << 16), min_size=1, max_size=50), st.integers(0, 49))
def test_log_probabilities_are_close(logits: list[int], at: int) -> None:
    """Each exponent is rounded to 2^-17 in base 2, which moves the sum by a relative 5.3e-6 at most."""
    token = at % len(logits)
    x = np.array(logits) / 65536
    expected = x[token] - x.max() - np.log(np.exp(x - x.max()).sum())
    assert abs(sampling.log_probability(np.array(logits), token) / 2**24 - expected) < 5.5e-6


def test_log_probabilities_of_extremes() -> None:
    far = np.array([LIMIT, -LIMIT])
    assert sampling.log_probability(far, 0) == 0
    assert sampling.log_probability(far, 1) == -(2 * LIMIT << 8)
    vocabulary = np.zeros(1 << 18, np.int64)
    assert abs(sampling.log_probability(vocabulary, 5) / 2**24 + 18 * np.log(2)) < 1e-7
