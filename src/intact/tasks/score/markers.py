"""Markers of reasoning in English text: habits such as verification, and words of doubt, thought and inference.

The papers publish no lists or ask a model, so these patterns are ours. They match words, not actions: "let me check"
counts as verification whether or not anything is then checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE | re.MULTILINE)


def _word(*phrases: str) -> str:
    return rf"(?<!\w)(?:{'|'.join(phrases)})"


_WE = r"(?:we|i|let['’]s|let us|let me)(?:['’]ll| will| can| must| should)?(?: first| now| then)?"
_COMPUTE = r"(?:find|calculate|determine|compute)"
_RESULT = r"(?:result|answer|solution|calculation|claim|reasoning|equation)s?"
_WAIT = (
    r"(?:^|(?<=[.!?:;(\]—–-]\s)|(?<=[(—–*\"“])|(?<!\w)(?:but|oh|no|ah|hm+|hmm+|okay|ok)[,.…-]*\s+)wait"
    r"(?=\s*(?:[,.!?;:…—–-]|$)|\s+(?:a\s+(?:minute|moment|second|sec)|no|that|this|it|i|we|let|but|if|is|what|maybe)\b)"
)
"""The interjection "wait": at the start of a sentence or after another interjection, not in "wait 20 minutes"."""

HABITS: Final[Mapping[str, re.Pattern[str]]] = {
    "verification": _any(_word(
        r"(?:let me|let['’]s|let us|we can|to|i(?:['’]ll| will)) (?:double[- ]?)?check(?! (?:in|out|for \$))",
        r"check(?:ing)? (?:if|whether|that|this|our|my|it)", r"double[- ]?check(?:ing|ed)?",
        "verif(?:y|ies|ied|ying|ication)", r"confirm(?:s|ed|ing)? (?:that|this|the|our|my|it)", "sanity check",
        rf"to ensure (?:accuracy|correctness|(?:the|our|that the) {_RESULT})",
        "(?:plugging|substituting) (?:[^.\n]{1,30} )?back", "(?:is|are) consistent with",
        "(?:makes?|making) sense", "(?:not|n['’]t) make sense",
    )),
    "backtracking": _any(_WAIT, _word(
        r"(?:let me|let['’]s|let us) (?:try (?:again|an?other|something else|a different)|start over|go back|correct)",
        r"re-?(?:consider|evaluat|examin|think|interpret|visit)(?:e|ed|ing)?",
        r"(?:that|this)(?:['’]s| is| was) (?:wrong|incorrect|not right|not correct|a mistake)",
        r"(?:that|this|it|which|approach|method|way|idea|guess|equation) "
        r"(?:doesn['’]t|does not|didn['’]t|did not) work(?! (?:on|at|in|for|as|from|during|more|less|\d))",
        r"an? (?:error|mistake|miscalculation|misunderstanding|misinterpretation) in",
        r"i (?:made (?:a mistake|an error)|mis(?:read|understood|calculated|counted))",
        "on second thought", r"the correct (?:interpretation|approach|equation|calculation) (?:is|should)",
    )),
    "subgoals": _any(_word(
        r"step \d+", r"(?:first|next|then|now|finally|second|third),? " + _WE + rf" (?:need to |have to )?{_COMPUTE}",
        r"(?:first|next|then|now),? " + _WE + " (?:need|must|have to)",
        r"(?:we|i) (?:first )?(?:need|have|want) to (?:first )?" + _COMPUTE, r"to find (?:out|the|how)",
        r"to (?:determine|calculate|compute) [^.\n]{1,120}?,? we(?:['’]ll| will| need| must| can| have)",
        "break(?:ing)? (?:it|this|that|the problem|[^.\n]{1,40}) (?:down|into)", "break(?:ing)? down",
        "follow(?:ing)? (?:these|the following) steps",
    ), rf"^\s*(?:[-*#]+\s*)?(?:\d+[.)]\s*)?(?:\*\*)?{_COMPUTE}(?= (?:the|how|what|\w+['’]s|\w+ing))"),
    "backward chaining": _any(_word(
        r"work(?:ing)? backwards?", "backward chaining",
        r"(?:start(?:ing)?|begin(?:ning)?) (?:from|with) the (?:answer|target|result|goal|end)",
        r"to (?:reach|get to|arrive at|end up with) (?:the )?(?:target|goal|result|answer|\d+),? (?:we|i|you|let)",
    )),
}  # fmt: skip
"""Phrase patterns for the four habits of arXiv 2503.01307."""

WORDS: Final[Mapping[str, re.Pattern[str]]] = {
    "hedging": _any(_word(
        "perhaps", "maybe", "possibly", "probably", "might", "seems?", "i think", "i guess", "not sure"
    )),
    "thinking": _any(_WAIT, _word("hmm+", "let me (?:think|see|check)", "alternatively", "actually")),
    "inference": _any(_word("therefore", "thus", "hence", "so", "because", "since", "consequently")),
    "contrast": _any(_word("however", "but", "although", "instead", "on the other hand")),
}  # fmt: skip
"""Words of doubt, thought, inference and contrast, following the classes of arXiv 2504.14047."""

MARKERS: Final[Mapping[str, re.Pattern[str]]] = {**HABITS, **WORDS}


def count_words(text: str) -> int:
    """Return the number of words, counting numbers as words."""
    return sum(1 for _ in _WORD.finditer(text))


def count_markers(text: str) -> dict[str, int]:
    """Return the number of occurrences of each of `MARKERS`; overlapping matches of one marker count once."""
    return {name: sum(1 for _ in pattern.finditer(text)) for name, pattern in MARKERS.items()}
