"""Costs of a quantised matrix, which a mixture minimises: one per file, discovered by file or through entry points."""

from typing import Final

from intact._base.plugins import Registry
from intact.quantizing.quantizers.costs.base import MatrixCost

COSTS: Final = Registry[MatrixCost](
    "intact.quantization_costs", __name__, lambda value: value.name if isinstance(value, MatrixCost) else None
)
"""Costs by name."""
