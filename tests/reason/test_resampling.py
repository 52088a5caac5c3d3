"""Resampling schemes by enumeration of all uniforms: unbiased, and less variable than multinomial draws."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.reason.populations import resampling
from intact.reason.populations.resampling import SCHEMES, multinomial, resample, residual, stratified, systematic

WEIGHTS = [([1, 2, 3], 3), ([0, 5, 1, 1], 4), ([7], 2), ([Fraction(1, 3), Fraction(1, 6)], 4), ([1, 1, 1], 3)]


def every_outcome(
    scheme: str, weights: list[int | Fraction], n: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[list[int], Fraction]]:
    """Indices and their probability, over cells of the uniforms' cube in which no choice can change."""
    masses = resampling.integer_weights(weights)
    cells = n * sum(masses)
    edges = [-((-cell << 64) // cells) for cell in range(cells)]
    for point in itertools.product(edges, repeat=1 if scheme == "systematic" else n):
        monkeypatch.setattr(resampling, "uniforms", lambda key, count, point=point: list(point[:count]))
        yield resample(scheme, 0, weights, n), Fraction(1, cells ** len(point))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("weights", "n"), WEIGHTS)
def test_every_scheme_is_unbiased(
    scheme: str, weights: list[int | Fraction], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheme != "systematic" and (n * sum(resampling.integer_weights(weights))) ** n > 40_000:
        n = 3
    expected = [n * Fraction(w) / Fraction(sum(weights)) for w in weights]
    first, second = [Fraction(0)] * len(weights), [Fraction(0)] * len(weights)
    for indices, chance in every_outcome(scheme, weights, n, monkeypatch):
        assert len(indices) == n
        for j in range(len(weights)):
            count = indices.count(j)
            first[j] += chance * count
            second[j] += chance * count**2
            if scheme == "systematic":
                assert math.floor(expected[j]) <= count <= math.ceil(expected[j])
            if scheme == "residual":
                assert count >= math.floor(expected[j])
            if scheme == "stratified":
                assert abs(count - expected[j]) < 2
    assert first == expected
    variance = [b - a * a for a, b in zip(first, second, strict=True)]
    independent = [mean * (1 - mean / n) for mean in expected]
    if scheme == "multinomial":
        assert variance == independent
    else:
        assert all(found <= bound for found, bound in zip(variance, independent, strict=True))


def test_schemes_are_not_one_scheme_under_four_names() -> None:
    weights = [0.1, 0.2, 0.3, 0.25, 0.15]
    results = {name: [resample(name, key, weights, 8) for key in range(20)] for name in SCHEMES}
    for one, other in itertools.combinations(SCHEMES, 2):
        assert results[one] != results[other]
    for name in ("stratified", "systematic"):
        assert all(indices == sorted(indices) for indices in results[name])


def test_the_edges_between_particles() -> None:
    """Point 0 belongs to the first particle with weight, and a point on an edge to the one that begins there."""
    assert resampling.invert([0, 3, 4, 7], [0, 4, 0, 4], 1) == [1, 1, 3, 3]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8).filter(any), st.integers(0, 2**64 - 1), st.integers(0, 9))
def test_only_the_proportions_of_weights_matter(weights: list[float], key: int, n: int) -> None:
    third = [Fraction(w) / 3 for w in weights]
    for scheme in SCHEMES.values():
        indices = scheme(key, weights, n)
        assert indices == scheme(key, third, n)
        assert all(weights[j] > 0 for j in indices)


def test_uniforms_are_those_of_the_key_in_order() -> None:
    """A longer run begins with a shorter one where draws are independent; other keys draw differently."""
    weights = [3, 1, 4, 1, 5]
    assert multinomial(7, weights, 50)[:20] == multinomial(7, weights, 20)
    assert multinomial(8, weights, 50) != multinomial(7, weights, 50)
    counts = Counter(multinomial(1, weights, 1400))
    assert all(abs(counts[j] - 100 * w) < 4 * math.sqrt(100 * w) for j, w in enumerate(weights))


def test_bits_are_pinned() -> None:
    weights = [0.1, 0.2, 0.3, 0.25, 0.15]
    assert multinomial(42, weights, 8) == PINNED["multinomial"]
    assert stratified(42, weights, 8) == PINNED["stratified"]
    assert systematic(42, weights, 8) == PINNED["systematic"]
    assert residual(42, weights, 8) == PINNED["residual"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, math.nan], [1.0, -0.1], [math.inf]])
def test_weights_that_are_none_are_refused(scheme: str, weights: list[float]) -> None:
    with pytest.raises(ParameterError, match="weight"):
        resample(scheme, 0, weights, 3)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(ParameterError, match="one of multinomial, stratified, systematic, residual, got 'best'"):
        resample("best", 0, [1], 1)


PINNED = {
    "multinomial": [2, 2, 3, 3, 3, 1, 3, 2],
    "stratified": [0, 1, 2, 2, 3, 3, 3, 4],
    "systematic": [0, 1, 2, 2, 2, 3, 3, 4],
    "residual": [1, 2, 2, 3, 3, 4, 1, 0],
}
