"""USCD, for code: where the model is unsure, subtracts its distribution without the task's examples."""

from math import isqrt
from typing import Any, Final

from intact.engine.mixes import Mix
from intact.engine.sampling.definitions import Definition
from intact.numerics import mix

SPREAD: Final = 890_000
"""0.89 in millionths; a deviation of 0.89 / sqrt(V) corresponds to the paper's 0.005 for V = 32,000."""


def rule(standard: mix.Row, shadow: mix.Row, place: mix.Place, *, deviation: int, **others: Any) -> mix.Row:
    """Apply `intact.numerics.mix.uscd`; a deviation of 0 means the default of 0.89 / sqrt(V)."""
    deviation = deviation or isqrt(SPREAD**2 // len(standard))
    return mix.uscd(standard, shadow, place, deviation=deviation, **others)


USCD = Mix(
    name="uscd",
    version=2,
    streams=("shadow",),
    parameters={
        "deviation": Definition(
            kind="decimal",
            default=0,
            high=1,
            usual="0.89 / sqrt(V)",
            effect="rows stay as they are whose probabilities deviate more than this from their mean; 0: the default",
        ),
        "floor": Definition(
            kind="decimal", default=0.666667, high=1000, effect="tokens below this multiple of 1 / V are left out"
        ),
        "weight": Definition(kind="decimal", default=1, high=100, above=True, effect="the weight of p"),
        "contrast": Definition(kind="decimal", default=0.7, high=100, effect="the weight of the shadow's p"),
    },
    rule=rule,
    source="Wang et al. 2024, arXiv 2409.05923",
)
