"""The rules of workers who share one solution: their names, the headings that they see, when a step is over.

Rodionov et al. 2025, arXiv 2504.06261 (Hogwild! Inference); the words are ours.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Of the definition (docs/shared_cache.md); raised when it gives other texts."""
NAMES: Final = ("Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi")
LAYOUTS: Final = ("combined", "interleaved", "contiguous")

PAST, OTHERS, OWN = "### Past steps\n\n", "### Work in progress (others)\n\n", "### Work in progress (own)\n\n"
GOES_ON: Final = " <...>\n\n"
"""Behind a step that another worker is still writing."""
DOUBT: Final = "Quick check: am I doing redundant work? (yes/no): "
FINISH: Final = "No time is left, so the answer is due now. By all that was found above the final answer is \\boxed{"


def heading(name: str, number: int) -> str:
    """Return the text before a worker's step, which counts its steps from 1."""
    return f"**{name} [{number}]:** "


def introduction(name: str, leads: bool) -> str:
    """Return how a worker's first step begins; one of them leads."""
    return f"I'm {name}." + (" I suggest that we" if leads else "")


def is_over(text: str, delimiter: str, ends: str) -> bool:
    """Return true if a step is over: by a delimiter behind the end of a sentence; by any if there are no `ends`."""
    before, found, _ = text.rpartition(delimiter)
    return bool(found) and (not ends or before.rstrip().endswith(tuple(ends)))
