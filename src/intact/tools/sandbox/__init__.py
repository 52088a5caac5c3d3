"""Runs Python that a model wrote where it can do no harm: no network, no files of ours, little memory, little time.

Workers of `intact._base.process` import libraries and answer many requests; a program here finds nothing but the
standard library, behind namespaces and a filter. What both do, setting resource limits, is less than what sharing it
would take.
"""

from intact.tools.sandbox.commands import Protection
from intact.tools.sandbox.outcome import Ending, Outcome, ProgramLimits
from intact.tools.sandbox.protection import protection
from intact.tools.sandbox.run import choose, run, run_cells, run_command

__all__ = [
    "Ending",
    "Outcome",
    "ProgramLimits",
    "Protection",
    "choose",
    "protection",
    "run",
    "run_cells",
    "run_command",
]
