"""The verdict on the receipt of a run, and how a replay ends once it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intact.receipts.verify import Outcome


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on the receipt of a run.

    Attributes
    ----------
    outcome : {'true', 'partial', 'false', 'unverifiable'}
        As for the receipt of one answer.
    what : str or None
        What differs, or is missing: of a text what `intact.receipts.verify` says, else one of docs/receipts.md, Runs.
    entry : int or None
        The first entry that is false.
    position : int or None
        The first token of its output that is.
    detail : str
        The same in words.
    checked : int
        Tokens that the model has found true.
    given : int
        Tokens that the model was given for that: texts, and what they go on from, once where several go on from the
        same. With a cache it computes fewer.
    programs : int
        Programs that were run, and tools that were used again, to the same end.
    """

    outcome: Outcome
    what: str | None = None
    entry: int | None = None
    position: int | None = None
    detail: str = ""
    checked: int = 0
    given: int = 0
    programs: int = 0


class DecidedError(Exception):
    """A replay that came upon what decides the verdict."""

    def __init__(self, verdict: RunVerdict) -> None:
        super().__init__(verdict.detail)
        self.verdict = verdict


def false(what: str, entry: int | None, detail: str, position: int | None = None) -> DecidedError:
    """Return the error that a receipt lies, where it does."""
    return DecidedError(RunVerdict("false", what, entry, position, detail=detail))
