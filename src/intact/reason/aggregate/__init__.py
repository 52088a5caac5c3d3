"""Aggregation of many samples into one answer: pure functions on arrays, each with its paper's formula and tie rule.

An answer is any hashable value; None means that a sample has no answer and does not vote. Samples are identified by
index.
"""

from typing import Final

VERSION: Final = 2
"""Version of the counting and weighting rules; increase it when they change (`intact.solving.receipts.versions`)."""
