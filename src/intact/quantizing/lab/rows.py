"""Rows of the lab's table: the figures for one spec, and the comparison of two on the same windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np

from intact._base.errors import ParameterError
from intact._base.exact import exp, mean
from intact.quantizing.quantizers import ALIASES, parse_spec
from intact.stats.intervals import AMOUNTS, Clustered, clustered
from intact.stats.laws.frontier import Point, frontier

_ALIASES: Final = {str(parse_spec(full)): name for name, full in ALIASES.items()}


def short_name(spec: str) -> str:
    """Shorten a full spec by omitting defaults: ``int4-32`` for ``nearest:int4-32@search``."""
    head, opening, candidates = spec.partition("(")
    if opening:
        return f"{head}({'|'.join(map(short_name, candidates.rstrip(')').split('|')))})"
    transforms, plus, rest = spec.rpartition("+")
    return transforms + plus + (_ALIASES.get(rest) or rest.removeprefix("nearest:").removesuffix("@search"))


@dataclass(frozen=True)
class LabRow:
    """The figures for one spec; the same on every machine.

    Attributes
    ----------
    spec : str
        The full spec.
    bits_per_weight : float
        Bits per weight of the quantised matrices in memory, scales included.
    file_bytes : int
        Size of the tensors' file, embeddings included.
    resident_bytes : int
        Size of all weights in memory in the int8 profile, embeddings included.
    kl_windows : tuple of float
        For each window, the mean of KL(source || quantised) over its scored positions, in nats.
    loss_windows : tuple of float
        For each window, the mean of -log of the probability of the text's next token, in nats.
    same_top : float
        Share of positions where source and quantised model have the same likeliest token.
    positions : int
        Number of scored positions in all windows.
    digest : str
        Digest of the quantised matrices.
    """

    spec: str
    bits_per_weight: float
    file_bytes: int
    resident_bytes: int
    kl_windows: tuple[float, ...]
    loss_windows: tuple[float, ...]
    same_top: float
    positions: int
    digest: str

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Build a row from JSON values, ignoring unknown members."""
        values: dict[str, Any] = {one.name: record[one.name] for one in fields(cls)}
        for name in ("kl_windows", "loss_windows"):
            values[name] = tuple(values[name])
        return cls(**values)

    @cached_property
    def divergence(self) -> Clustered:
        """The mean KL divergence with its 95% Student's t interval over windows.

        Windows are the units because positions within a window are not independent.
        """
        return clustered(np.array(self.kl_windows)[:, None], support=AMOUNTS)

    @property
    def kl(self) -> float:
        """The mean of KL(source || quantised) in nats."""
        return self.divergence.estimate

    @property
    def perplexity(self) -> float:
        """The perplexity on the scored positions."""
        return exp(mean(self.loss_windows))


class Ordering(NamedTuple):
    """The difference between two specs in KL divergence on the same windows.

    Attributes
    ----------
    first, second : str
        Full specs; `first` has the lower mean.
    difference, low, high : float
        The mean over windows of second minus first in nats, never negative, and its 95% interval.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float

    @property
    def tie(self) -> bool:
        """If true, the interval covers zero."""
        return self.low <= 0

    def __str__(self) -> str:
        bounds = f"by {self.difference:.3g} [{self.low:.3g}, {self.high:.3g}]"
        names = f"{short_name(self.first)} before {short_name(self.second)}"
        return f"tie: {names} {bounds}" if self.tie else f"{names} {bounds}"


def order(one: LabRow, other: LabRow) -> Ordering:
    """Compare two rows window by window, which removes the variance shared by both.

    Raises
    ------
    ParameterError
        If they were not measured on the same number of windows.
    """
    first, second = sorted((one, other), key=lambda row: row.kl)
    if len(first.kl_windows) != len(second.kl_windows):
        raise ParameterError(
            f"{first.spec} was measured on {len(first.kl_windows)} windows, but {second.spec} on "
            f"{len(second.kl_windows)}"
        )
    gaps = np.subtract(second.kl_windows, first.kl_windows)
    found = clustered(gaps[:, None])
    return Ordering(first.spec, second.spec, found.estimate, found.low, high=found.high)


Standing = Literal["front", "neighbour", "dominated"]


def standings(rows: Sequence[LabRow]) -> dict[str, Standing]:
    """Classify each spec by the Pareto front of bits per weight and KL divergence.

    A neighbour is a dominated spec that ties with the spec on the front that dominates it: with more text, it might
    reach the front.
    """
    points = [Point(row.spec, -row.kl, {"bits": row.bits_per_weight}) for row in rows]
    found, by_spec = frontier(points, "bits"), {row.spec: row for row in rows}
    return {
        row.spec: "front"
        if row.spec not in found.dominated
        else "neighbour"
        if order(row, by_spec[found.dominated[row.spec]]).tie
        else "dominated"
        for row in rows
    }
