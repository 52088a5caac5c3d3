"""Quantisers: one file each. A quantiser turns a float matrix into an integer weight on the grid that a spec names.

`intact.quantizing` applies them to whole models; `docs/quantizing.md` has the table of specs.
"""

from __future__ import annotations

from typing import Final

from intact.plugins import Registry
from intact.quantizers.base import InputStatistics, Quantized, Quantizer
from intact.quantizers.spec import Spec, parse_spec

QUANTIZERS: Final = Registry[Quantizer](
    "intact.quantizers",
    "intact.quantizers",
    lambda value: value.name if isinstance(value, Quantizer) else None,
)
"""Quantisers by name."""

__all__ = ["QUANTIZERS", "InputStatistics", "Quantized", "Quantizer", "Spec", "parse_spec"]
