"""The mixed model of AB-MCTS-M (Inoue et al. 2025, arXiv 2503.04412): grouped rewards, fitted by fixed quadrature.

A reward of group j is `N(alpha_j, within^2)`, and a group's mean `alpha_j` is `N(mu, between^2)`. The priors are those
of the authors' code: `mu ~ N(.5, .2^2)`, `between ~ |N(0, .2^2)|`, `within ~ |N(0, .3^2)|`. Given the two deviations,
everything is normal, so only these two need a grid, and draws are bit-identical on every machine.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Final, NamedTuple

from intact._base.exact import exp, ln, mean, power, total
from intact.reason.populations.variates import RandomStream

CENTRE: Final = 0.5
SPREAD: Final = 0.2
BETWEEN: Final = 0.2
WITHIN: Final = 0.3
SCALES: Final = tuple(power(2.0, i / 3) for i in range(-15, 7))
"""Grid of each deviation, in units of its prior's scale: three points per octave, from 1/32 to 4; the first point
represents everything below it.
"""


class Group(NamedTuple):
    """The number and mean of a group's rewards."""

    size: int
    mean: float


class Cell(NamedTuple):
    """A point of the grid.

    Attributes
    ----------
    between, within : float
        Variance of the groups' means, and of rewards within a group.
    center, precision : float
        The posterior of mu at this point, which is normal.
    mass : float
        The posterior probability of the point, up to a common factor.
    """

    between: float
    within: float
    center: float
    precision: float
    mass: float


class MixedFit(NamedTuple):
    """A posterior of the model.

    Attributes
    ----------
    groups : tuple of Group
        The observed groups.
    cells : tuple of Cell
        The grid.
    edges : tuple of float
        Cumulative masses of the cells.
    """

    groups: tuple[Group, ...]
    cells: tuple[Cell, ...]
    edges: tuple[float, ...]

    def predict(self, cell: Cell, group: int | None) -> tuple[float, float]:
        """Return the mean and variance of the next reward of a group, or of a new group, at a point of the grid."""
        if group is None:
            return cell.center, 1 / cell.precision + cell.between + cell.within
        size, average = self.groups[group]
        whole = cell.within + size * cell.between
        pooled = cell.within / whole
        center = pooled * cell.center + (1 - pooled) * average
        return center, pooled * pooled / cell.precision + cell.between * pooled + cell.within

    def draw(self, group: int | None, stream: RandomStream) -> float:
        """Draw the next reward of a group, or of a new group, from the posterior predictive distribution."""
        place = bisect_right(self.edges, stream.uniform() * self.edges[-1])
        center, variance = self.predict(self.cells[min(place, len(self.cells) - 1)], group)
        return center + math.sqrt(variance) * stream.normal()


class GridPoint(NamedTuple):
    """A point of the grid: two variances, and the log of the prior mass there, up to a constant."""

    between: float
    within: float
    prior: float


@cache
def grid() -> tuple[GridPoint, ...]:
    """Return the grid: every pair of scales t, each with the mass `t e^(-t^2 / 2)` of its part of an octave.

    The first scale also carries the mass of everything below it: its mass grows by the ratio of the part's end,
    `2^(1/6)` times the scale, to its length.
    """
    logs = [ln(t) - t * t / 2 for t in SCALES]
    logs[0] += ln(power(2.0, 1 / 6) / (ln(2.0) / 3))
    return tuple(
        GridPoint((BETWEEN * s) * (BETWEEN * s), (WITHIN * t) * (WITHIN * t), a + b)
        for s, a in zip(SCALES, logs, strict=True)
        for t, b in zip(SCALES, logs, strict=True)
    )


@cache
def spreads(size: int) -> tuple[tuple[float, float], ...]:
    """Return `within + size between` at each point of the grid, and its logarithm."""
    wholes = [point.within + size * point.between for point in grid()]
    return tuple((whole, ln(whole)) for whole in wholes)


def fit(groups: Sequence[Sequence[float]]) -> MixedFit:
    """Fit the model to groups of rewards.

    Parameters
    ----------
    groups : sequence of sequence of float
        The rewards of each group, at least one per group; without groups, the posterior is the prior.
    """
    means = tuple(Group(len(rewards), mean(rewards)) for rewards in groups)
    scatter = total((y - one.mean) ** 2 for one, rewards in zip(means, groups, strict=True) for y in rewards)
    sizes = sorted(Counter(one.size for one in means).items())
    offsets = {size: [one.mean - CENTRE for one in means if one.size == size] for size, _ in sizes}
    first = {size: total(offsets[size]) for size, _ in sizes}
    second = {size: total(offset * offset for offset in offsets[size]) for size, _ in sizes}
    free = sum(one.size - 1 for one in means)
    found = []
    for i, (between, within, prior) in enumerate(grid()):
        precision, linear, square = 1 / (SPREAD * SPREAD), 0.0, 0.0
        log = prior - free * spreads(0)[i][1] / 2 - scatter / (2 * within)
        for size, count in sizes:
            whole, log_whole = spreads(size)[i]
            precision += count * size / whole
            linear += size * first[size] / whole
            square += size * second[size] / whole
            log -= count * log_whole / 2
        log -= (ln(precision) + square - linear * linear / precision) / 2
        found.append(Cell(between, within, CENTRE + linear / precision, precision, mass=log))
    highest = max(cell.mass for cell in found)
    cells = tuple(cell._replace(mass=exp(cell.mass - highest)) for cell in found)
    return MixedFit(means, cells, tuple(accumulate(cell.mass for cell in cells)))
