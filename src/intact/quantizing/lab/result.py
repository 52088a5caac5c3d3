"""The result of a lab as data: JSON that separates reproducible results from the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from intact.measure.bench.speed import Measurement
from intact.quantizing.lab.accuracy import ChoiceAccuracy
from intact.quantizing.lab.rows import LabRow, Ordering, order, standings


@dataclass(frozen=True)
class LabResult:
    """All results of a lab.

    Attributes
    ----------
    model : str
        The name or path given.
    source : str
        The kind of float source: ``file``, ``permuted`` or ``rotated``.
    weights, text : str
        Digests of the source's weights and of the scored windows.
    context, windows : int
    embeddings : str
    source_perplexity : float
    rows : sequence of LabRow
        In the order of the specs.
    accuracies : sequence of ChoiceAccuracy
        Accuracies of the source, the front and its neighbours.
    speed : mapping
        Measurements by full spec, or ``source``: the only part that is not reproducible.
    profile : str
        The arithmetic in which the rows were measured.
    """

    model: str
    source: str
    weights: str
    text: str
    context: int
    windows: int
    embeddings: str
    source_perplexity: float
    rows: Sequence[LabRow]
    accuracies: Sequence[ChoiceAccuracy] = ()
    speed: Mapping[str, Sequence[Measurement]] = field(default_factory=dict)
    profile: str = "fp32"

    def orderings(self, pairs: Sequence[tuple[str, str]] = ()) -> list[Ordering]:
        """Compare pairs of full specs; if none are given, compare each spec with the next one by KL divergence."""
        known = {row.spec: row for row in self.rows}
        if not pairs:
            pairs = list(pairwise(sorted(known, key=lambda spec: known[spec].kl)))
        return [order(known[one], known[other]) for one, other in pairs]

    def to_dict(self, pairs: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return the result as JSON values; all but ``not_repeatable`` is the same on every machine."""
        standing = standings(self.rows)
        found: dict[str, Any] = {
            "model": self.model,
            "source": self.source,
            "weights": self.weights,
            "text": self.text,
            "context": self.context,
            "windows": self.windows,
            "embeddings": self.embeddings,
            "profile": self.profile,
            "source_perplexity": self.source_perplexity,
            "rows": [
                asdict(row)
                | {
                    "kl": row.kl,
                    "kl_low": row.divergence.low,
                    "kl_high": row.divergence.high,
                    "perplexity": row.perplexity,
                    "standing": standing[row.spec],
                }
                for row in self.rows
            ],
            "orderings": [one._asdict() | {"tie": one.tie} for one in self.orderings(pairs)],
            "accuracies": [
                one._asdict() | {"share": one.share, "low": one.bounds[0], "high": one.bounds[1]}
                for one in self.accuracies
            ],
        }
        if self.speed:
            found["not_repeatable"] = {
                "speed": {spec: [asdict(one) for one in measured] for spec, measured in self.speed.items()}
            }
        return found
