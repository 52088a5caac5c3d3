"""Quantisers, one per file: each turns a float matrix into an integer weight on the grid named by a spec.

`intact.quantizing` applies them to whole models; the table of specs is in `docs/quantizing.md`.
"""

from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.costs import COSTS
from intact.quantizing.quantizers.mixture import SpecMixture, parse_recorded, parse_target
from intact.quantizing.quantizers.registry import ALIASES, QUANTIZERS, all_specs, parse_spec
from intact.quantizing.quantizers.spec import Spec
from intact.quantizing.quantizers.transforms import TRANSFORMS

__all__ = [
    "ALIASES",
    "COSTS",
    "QUANTIZERS",
    "TRANSFORMS",
    "InputStatistics",
    "QuantizedMatrix",
    "Quantizer",
    "Spec",
    "SpecMixture",
    "all_specs",
    "parse_recorded",
    "parse_spec",
    "parse_target",
]
