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
    "parse error": "the text is no sentence of the assistant's language",
    "unknown name": "a lemma, hypothesis, library or notation is named that is not there",
    "type error": "a term has another type than is needed",
    "failed tactic": "a step that can be read cannot be applied, or does not find what it looks for",
    "unsolved goals": "the proof ends, or leaves a goal, before that is proved",
    "forbidden": "a goal is given up, an axiom assumed that is not the library's own, or a command is among the steps",
    "timeout": "the time of a try, or of a step, ran out",
    "resource limit": "memory, output or another limit of the assistant ran out",
    "budget": "the method's own limit, or the user's budget, ended before there was a proof",
}
"""Description of each label. Each failed attempt has exactly one label."""


def count_failures(labels: Iterable[str | None]) -> dict[str, int]:
    """Count the occurring labels, in the order of `FAILURES`; None is not counted."""
    found = Counter(labels)
    return {label: found[label] for label in FAILURES if found[label]}
