"""The command line, ``intact``: a file for each command.

Modules here import nothing heavy at their top, so that ``--help`` and shell completion answer at once.
"""

from intact.cli.app import app, main

__all__ = ["app", "main"]
