"""Failure labels of proofs: a small set of reasons, derived from a proof assistant's messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

FailureLabel: TypeAlias = Literal[
    "parse error",
    "unknown name",
    "type error",
    "failed tactic",
    "unsolved goals",
    "forbidden",
    "timeout",
    "resource limit",
    "budget",
]

FAILURES: Final[dict[FailureLabel, str]] = {
    "parse error": "the text is not a sentence in the assistant's language",
    "unknown name": "the step names a lemma, hypothesis, library or notation that does not exist",
    "type error": "a term does not have the required type",
    "failed tactic": "a step that can be read cannot be applied, or does not find what it looks for",
    "unsolved goals": "the proof ends, or moves on from a goal, before the goal is proved",
    "forbidden": "a step gives up a goal, assumes an axiom that is not part of the library, or is a command",
    "timeout": "an attempt, or a step, ran out of time",
    "resource limit": "the assistant reached a limit on memory, output or another resource",
    "budget": "the method's own limit was reached, or the user's budget was used up, before a proof was found",
}
"""Description of each label. Each failed attempt has exactly one label."""


def count_failures(labels: Iterable[str | None]) -> dict[str, int]:
    """Count the occurring labels, in the order of `FAILURES`; None is not counted."""
    found = Counter(labels)
    return {label: found[label] for label in FAILURES if found[label]}
