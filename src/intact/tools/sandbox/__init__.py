"""Sandbox for Python code written by a model: no network, no access to the user's files, limited memory and time.

Workers of `intact._base.process` import libraries and serve many requests, whereas a program here has only the standard
library, and runs inside namespaces and behind a filter. The code they have in common, for setting resource limits, is
too small to be worth sharing.
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
