"""From many samples to one answer: pure functions on arrays, each with its paper's formula and its tie rule.

An answer is any hashable value; None means that a sample has none, and does not vote. Samples are named by their place.
"""

from typing import Final

VERSION: Final = 2
"""Of how answers are counted and weighed; raise it when that changes (`intact.solving.receipts.versions`)."""
