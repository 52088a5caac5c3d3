"""Marks of reasoning in English texts: habits such as verification, and words of doubt, thought and inference.

The papers give no lists, or ask a model; these patterns are ours. They count words, not deeds: "let me check" counts as
verification whether or not anything is checked behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b", re.IGNORECASE)


HABITS: Final[Mapping[str, re.Pattern[str]]] = {
    "verification": _any(
        r"(?:let me|let['’]s|let us|we can|to|i(?:['’]ll| will)) (?:double[- ]?)?(?:check|verify|confirm)",
        r"double[- ]?check(?:ing|ed)?", "verification", "verifying", "sanity check", "plugging (?:it )?back",
    ),
    "backtracking": _any(
        "wait", r"(?:let me|let['’]s|let us) (?:try (?:again|another|something else)|start over|reconsider|go back)",
        r"(?:that|this)(?:['’]s| is| was) (?:wrong|incorrect|not right|not correct|a mistake)",
        r"(?:doesn['’]t|does not|didn['’]t|did not) work", "i made (?:a mistake|an error)", "on second thought",
    ),
    "subgoals": _any(
        r"step \d+", "first,? (?:we|i|let['’]s|let us|calculate|find|determine)",
        r"(?:next|then),? (?:we|i|let['’]s|let us) (?:need|must|have to|can|find|calculate|determine)",
        "break (?:it|this|the problem) down", r"(?:we|i) (?:first )?need to (?:find|calculate|determine|compute)",
    ),
    "backward chaining": _any(
        r"work(?:ing)? backwards?", "backward chaining",
        r"(?:start(?:ing)?|begin(?:ning)?) (?:from|with) the (?:answer|target|result|goal|end)",
        r"to (?:reach|get to|arrive at|end up with) (?:the )?(?:target|goal|result|answer|\d+)",
    ),
}  # fmt: skip
"""The four habits of arXiv 2503.01307, by phrases."""

WORDS: Final[Mapping[str, re.Pattern[str]]] = {
    "hedging": _any("perhaps", "maybe", "possibly", "probably", "might", "seems?", "i think", "i guess", "not sure"),
    "thinking": _any("hmm+", "wait", "let me (?:think|see|check)", "alternatively", "actually"),
    "inference": _any("therefore", "thus", "hence", "so", "because", "since", "consequently"),
    "contrast": _any("however", "but", "although", "instead", "on the other hand"),
}
"""Words of doubt, thought, inference and contrast, after the classes of arXiv 2504.14047."""

MARKERS: Final[Mapping[str, re.Pattern[str]]] = {**HABITS, **WORDS}


def count_words(text: str) -> int:
    """Return the number of words, numbers included."""
    return sum(1 for _ in _WORD.finditer(text))


def count_markers(text: str) -> dict[str, int]:
    """Return how often a text has each of `MARKERS`; what overlaps within one of them counts once."""
    return {name: sum(1 for _ in pattern.finditer(text)) for name, pattern in MARKERS.items()}
