"""Costs of a quantised matrix, by which a mixture chooses: one file each, found by their files or by entry points."""

from typing import Final

from intact._base.plugins import Registry
from intact.quantizing.quantizers.costs.base import MatrixCost

COSTS: Final = Registry[MatrixCost](
    "intact.quantization_costs", __name__, lambda value: value.name if isinstance(value, MatrixCost) else None
)
"""Costs by name."""
