"""Resampling schemes with one signature: key, weights, n -> indices.

Each draws n ancestors so that the expected number of copies of particle j is n w_j / sum(w) (Douc, Cappé & Moulines
2005, Comparison of resampling schemes for particle filtering). Weights are treated as exact rational numbers (an
integer, a fraction or a double), uniforms are multiples of 2^-64, and all arithmetic in between uses integers, so
neither summation order nor rounding matters. Uniform i is the Philox number at position i of the key.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import accumulate
from typing import Annotated, Protocol, TypeAlias

from intact._base.errors import ParameterError
from intact._base.exact import Number, weight
from intact.numerics.sampling import uniform64
from intact.reason.limits import one_of

Scheme = Callable[[int, Sequence[Number], int], list[int]]


class DrawSource(Protocol):
    """A source of a method's own draws that takes the place of a key; used by tests that enumerate all draws."""

    def ancestors(self, scheme: str, weights: Sequence[Number], n: int) -> list[int]:
        """Return an outcome of a resampling scheme."""
        ...

    def flips(self, chances: Sequence[Fraction]) -> list[bool]:
        """Return an independent outcome for each probability."""
        ...


Key: TypeAlias = int | DrawSource
"""The source of a method's own draws: a number returned by `Problem.key`, or a `DrawSource`."""


def uniforms(key: int, n: int) -> list[int]:
    """Return the first n uniforms of a key, in units of 2^-64."""
    return [uniform64(key, i) for i in range(n)]


def integer_weights(weights: Sequence[Number]) -> list[int]:
    """Return the numerators of the weights over their common denominator.

    Raises
    ------
    ParameterError
        If a weight is negative or not finite, or no weight is above 0.
    """
    exact = [weight(w) for w in weights]
    if not any(exact):
        raise ParameterError(f"at least one of the {len(exact)} weights must be positive")
    denominator = math.lcm(*(w.denominator for w in exact))
    return [w.numerator * (denominator // w.denominator) for w in exact]


def invert(points: Sequence[int], masses: Sequence[int], scale: int) -> list[int]:
    """Apply the inverse distribution function: for each point, the first j with `point < scale (m_0 + ... + m_j)`."""
    edges = [scale * edge for edge in accumulate(masses)]
    return [bisect_right(edges, point) for point in points]


def multinomial(key: int, weights: Sequence[Number], n: int) -> list[int]:
    """Draw n times independently, place i with uniform i; the scheme of particle filtering as published."""
    masses = integer_weights(weights)
    total = sum(masses)
    return invert([u * total for u in uniforms(key, n)], masses, 1 << 64)


def stratified(key: int, weights: Sequence[Number], n: int) -> list[int]:
    """Draw once from each of n equal parts of the distribution, at (i + u_i) / n; ascending."""
    masses = integer_weights(weights)
    total = sum(masses)
    return invert([((i << 64) + u) * total for i, u in enumerate(uniforms(key, n))], masses, n << 64)


def systematic(key: int, weights: Sequence[Number], n: int) -> list[int]:
    """Draw once from each of n equal parts of the distribution, at (i + u_0) / n; ascending."""
    masses = integer_weights(weights)
    total = sum(masses)
    u = uniforms(key, 1)[0]
    return invert([((i << 64) + u) * total for i in range(n)], masses, n << 64)


def residual(key: int, weights: Sequence[Number], n: int) -> list[int]:
    """Copy each particle floor(n w_j / sum(w)) times, in order, then draw from the remaining weights multinomially."""
    masses = integer_weights(weights)
    total = sum(masses)
    copies = [n * mass // total for mass in masses]
    whole = [j for j, count in enumerate(copies) for _ in range(count)]
    left = n - len(whole)
    return whole + (multinomial(key, [n * mass % total for mass in masses], left) if left else [])


SCHEMES: dict[str, Scheme] = {scheme.__name__: scheme for scheme in (multinomial, stratified, systematic, residual)}
SchemeName: TypeAlias = Annotated[str, partial(one_of, SCHEMES)]


def resample(scheme: str, key: Key, weights: Sequence[Number], n: int) -> list[int]:
    """Draw n ancestors by the named scheme, or from a `DrawSource` if the key is one.

    Raises
    ------
    ParameterError
        If the scheme is unknown, a weight is negative or not finite, or no weight is above 0.
    """
    one_of(SCHEMES, scheme=scheme)
    return SCHEMES[scheme](key, weights, n) if isinstance(key, int) else key.ancestors(scheme, weights, n)
