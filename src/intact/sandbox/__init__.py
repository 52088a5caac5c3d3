"""Runs Python that a model wrote where it can do no harm: no network, no files of ours, little memory, little time."""

from intact.sandbox.outcome import Ending, Limits, Outcome
from intact.sandbox.protection import Protection, protection
from intact.sandbox.run import run

__all__ = ["Ending", "Limits", "Outcome", "Protection", "protection", "run"]
