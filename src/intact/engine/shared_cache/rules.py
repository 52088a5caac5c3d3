"""The rules of workers that share one solution: their names, the headings they see, and when a step ends.

Rodionov et al. 2025, arXiv 2504.06261 (Hogwild! Inference); the wording is ours.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Version of the definition (docs/spec/shared_cache.md); raised whenever it changes the output."""
NAMES: Final = ("Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi")
LAYOUTS: Final = ("combined", "interleaved", "contiguous")

PAST, OTHERS, OWN = "### Past steps\n\n", "### Work in progress (others)\n\n", "### Work in progress (own)\n\n"
GOES_ON: Final = " <...>\n\n"
"""Appended to a step that another worker is still writing."""
DOUBT: Final = "Quick check: am I doing redundant work? (yes/no): "
FINISH: Final = "No time is left, so the answer is due now. By all that was found above the final answer is \\boxed{"


def heading(name: str, number: int) -> str:
    """Return the heading of a worker's step; steps are numbered from 1."""
    return f"**{name} [{number}]:** "


def introduction(name: str, leads: bool) -> str:
    """Return the beginning of a worker's first step; one of the workers leads."""
    return f"I'm {name}." + (" I suggest that we" if leads else "")


def is_over(text: str, delimiter: str, ends: str) -> bool:
    """Return true if a step is over: at a delimiter after a sentence end, or at any delimiter if `ends` is empty."""
    before, found, _ = text.rpartition(delimiter)
    return bool(found) and (not ends or before.rstrip().endswith(tuple(ends)))
