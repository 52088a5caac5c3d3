"""The operations of programs. Each file implements one operation completely for Python (`intact.models.aspects.op`)."""

from __future__ import annotations

from intact.models.ops.adapt import Adapt, LowRank
from intact.models.ops.all_gather import AllGather
from intact.models.ops.attend import Attend
from intact.models.ops.convolve import Convolve
from intact.models.ops.convolve_silu import ConvolveSilu
from intact.models.ops.embed import Embed
from intact.models.ops.experts import Expert, Experts
from intact.models.ops.gate import Gate
from intact.models.ops.gated_delta import GatedDelta
from intact.models.ops.gated_recurrence import GatedRecurrence
from intact.models.ops.gather import Gather
from intact.models.ops.hadamard import Hadamard
from intact.models.ops.linear import Linear, Target
from intact.models.ops.logits import Logits
from intact.models.ops.multiply import Multiply
from intact.models.ops.norm import Norm
from intact.models.ops.rope import Rope
from intact.models.ops.scan import Scan
from intact.models.ops.scatter import Scatter
from intact.models.ops.selective_scan import SelectiveScan
from intact.models.ops.steer import Steer
from intact.models.ops.trapezoidal_scan import TrapezoidalScan

__all__ = [
    "Adapt",
    "AllGather",
    "Attend",
    "Convolve",
    "ConvolveSilu",
    "Embed",
    "Expert",
    "Experts",
    "Gate",
    "GatedDelta",
    "GatedRecurrence",
    "Gather",
    "Hadamard",
    "Linear",
    "Logits",
    "LowRank",
    "Multiply",
    "Norm",
    "Rope",
    "Scan",
    "Scatter",
    "SelectiveScan",
    "Steer",
    "Target",
    "TrapezoidalScan",
]
